/** Everything a person at the terminal is told while the gateway runs. */
import type { Status } from './admin/status.ts'
import type { Place, Problem } from './registry/model.ts'
import { refusalText } from './xds/refusal-text.ts'

export type GatewayEvent =
  | { readonly kind: 'ready'; readonly url: string; readonly admin: string; readonly status: Status }
  | {
      readonly kind: 'applied'
      readonly version: string
      readonly envoys: number
      readonly of: number
      readonly ms: number
      readonly changed: string
    }
  | { readonly kind: 'rejected' | 'warnings'; readonly problems: readonly Problem[]; readonly text: string }
  | { readonly kind: 'nack'; readonly text: string; readonly place?: Place; readonly message: string }
  | { readonly kind: 'envoy'; readonly text: string }

/** A resource that an Envoy refused, with the registry line it came from. */
export const nackEvent = (
  file: string,
  nack: { readonly message: string; readonly place?: Place; readonly name: string; readonly node: string },
): GatewayEvent => {
  const { place, message } = nack
  const where = place === undefined ? '' : `${file}:${place.line}:${place.column}: `
  return {
    kind: 'nack',
    message,
    text: `${where}Envoy ${nack.node} refused ${nack.name}: ${refusalText(message)}`,
    ...(place !== undefined && { place }),
  }
}
