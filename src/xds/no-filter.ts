/** What is in a slot that nobody uses: a filter that mutates nothing. */
import { any, type Message } from './pack.ts'

export const noFilterType = 'envoy.extensions.filters.http.header_mutation.v3.HeaderMutation'

export const noFilter: Message = any(noFilterType, { mutations: {} })
