/** What was written, as JSON. */
import type { Json } from './model.ts'

/** What is no JSON stands where something could not be read, which is reported. */
export const json = (value: unknown): Json => {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value
  if (Array.isArray(value)) return value.map(json)
  return typeof value === 'object' && value !== null ? jsonMap(value) : null
}

export const jsonMap = (value: object): { readonly [key: string]: Json } =>
  Object.fromEntries(Object.entries(value).map(([key, each]: [string, unknown]) => [key, json(each)]))
