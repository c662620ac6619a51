/** Envoy's reason in one line: without what it would have taken instead, a hundred types long, and without the message itself. */
export const refusalText = (reason: string): string =>
  reason
    .replace(/^.*(?=Proto constraint validation failed)/s, '')
    .replace(/ but expect [\w.]+(?:, [\w.]+)+(?:\(truncated\))?$/, ', which this Envoy does not have')
    .replaceAll(/\s+/g, ' ')
