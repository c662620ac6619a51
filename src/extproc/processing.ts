/** The messages of Envoy's external processing API, cut down to what we read and what we answer. */
import type { RequestHead } from '../mcp/request-head.ts'

/** What Envoy sends. `names` are all header names of the request, pseudo headers among them. */
export type ProcessingRequest =
  | {
      readonly of: 'request_headers'
      readonly head: RequestHead
      readonly names: readonly string[]
      /** Envoy's id of the request; the decision's too. */
      readonly requestId: string
      /** The client's, as Envoy sees it; empty when it does not say. */
      readonly address: string
      /** The token as it came: what becomes of it, only the metadata tells. */
      readonly authorization: string | undefined
      /** What Envoy's filters found out: the bytes of an envoy.config.core.v3.Metadata. */
      readonly metadata: Buffer | undefined
      /** The request has no body. */
      readonly endOfStream: boolean
    }
  | { readonly of: 'request_body'; readonly body: Buffer }
  | { readonly of: 'response_headers' }
  | { readonly of: 'other' }

/** Headers to set (replacing what is there) and to remove; a whole new body, or the one that came. */
export interface Mutation {
  readonly set: readonly (readonly [name: string, value: string])[]
  readonly remove: readonly string[]
  readonly body: Buffer | undefined
}

/** Dynamic metadata: namespace → fields. */
export interface Metadata {
  readonly [namespace: string]: Fields
}
export interface Fields {
  readonly [field: string]: string | Fields
}

/** What we answer. An answer with a mutation always has the route chosen again. */
export type ProcessingResponse =
  /** The body is wanted too. */
  | { readonly to: 'request_headers'; readonly next: 'body' }
  /** Nothing further of this request is sent to us. */
  | { readonly to: 'request_headers'; readonly next: 'end'; readonly mutation: Mutation; readonly metadata: Metadata }
  | { readonly to: 'request_body'; readonly mutation: Mutation; readonly metadata: Metadata }
  | { readonly to: 'response_headers' }
