/** A text in one fixed form: either it means something, or it says what is wrong with it, without repeating it. */
export type Form<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly message: string; readonly hint?: string }

export const good = <T>(value: T): Form<T> => ({ ok: true, value })

export const bad = (message: string, hint?: string): Form<never> =>
  hint === undefined ? { ok: false, message } : { ok: false, message, hint }
