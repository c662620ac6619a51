/** The `limits:` of the gateway or of a server. */
import type { Inspection } from './inspection.ts'
import type { Limits, Rate } from './model.ts'
import { patternOddity } from './patterns.ts'
import type { Path } from './place.ts'
import type { WrittenRate } from './rate.ts'
import type { GatewayLimitsSheet, ServerLimitsSheet } from './schema-access.ts'

export const gatewayLimits = (inspection: Inspection, path: Path, sheet: GatewayLimitsSheet): Limits => ({
  ...common(inspection, path, sheet),
  ...(sheet.streams === undefined ? {} : { streams: sheet.streams }),
  tools: [],
})

/** `maxBody`: the gateway's, which is read first. */
export const serverLimits = (inspection: Inspection, path: Path, sheet: ServerLimitsSheet, maxBody: number): Limits => {
  const { body } = sheet
  if (body !== undefined && body > maxBody) {
    inspection.warning([...path, 'body'], 'larger requests than gateway.maxBody never get here')
  }
  return {
    ...common(inspection, path, sheet),
    ...(body === undefined ? {} : { maxBody: body }),
    tools: Object.entries(sheet.tools).map(([pattern, { calls, per }]) => {
      const here = [...path, 'tools', pattern]
      const oddity = patternOddity(pattern, 'name')
      if (oddity !== undefined) inspection.warning(here, oddity.message, oddity.hint)
      return { pattern, rate: rate(inspection, here, calls, per) }
    }),
  }
}

const common = (
  inspection: Inspection,
  path: Path,
  sheet: GatewayLimitsSheet | ServerLimitsSheet,
): Pick<Limits, 'rate' | 'concurrent'> => {
  const { calls, per, concurrent } = sheet
  const has = (key: string): boolean => inspection.isWritten([...path, key])
  if (has('per') && !has('calls')) inspection.error([...path, 'per'], 'per needs calls', 'add calls, such as 10/s')
  else if (Object.keys(sheet).every((key) => !has(key)) && !inspection.isBroken(path)) {
    inspection.error(path, 'says nothing', 'add calls, such as 10/s')
  }
  return {
    ...(calls === undefined ? {} : { rate: rate(inspection, path, calls, per) }),
    ...(concurrent === undefined ? {} : { concurrent }),
  }
}

const rate = (inspection: Inspection, path: Path, calls: WrittenRate, per: Rate['per'] = 'subject'): Rate => ({
  ...calls,
  per,
  place: inspection.keyPlace([...path, 'calls']),
})
