/** One finished request, as Envoy's access log reports it, and what became of it. */

export interface Call {
  readonly durationMs: number
  /** Of HTTP; 0 when there was no answer. */
  readonly status: number
  /** Envoy's response flags, by the names of its API, such as `upstream_request_timeout`. */
  readonly flags: readonly string[]
  /** Envoy's response code details. */
  readonly details: string
  /** What ext_proc or the broker published: `method`, `server`, `tool`, `path`. */
  readonly metadata: Readonly<Record<string, string | number | boolean>>
}

/** `refused`: answered with a 4xx. `cancelled`: the client went away first. */
export type Outcome = 'ok' | 'refused' | 'timeout' | 'cancelled' | 'failed'

/** The flags that decide, whatever the status is; the first that a call carries counts. */
const FLAGS: Readonly<Record<string, Outcome>> = {
  downstream_connection_termination: 'cancelled',
  downstream_remote_reset: 'cancelled',
  upstream_request_timeout: 'timeout',
  stream_idle_timeout: 'timeout',
  duration_timeout: 'timeout',
  upstream_max_stream_duration_reached: 'timeout',
  upstream_connection_failure: 'failed',
  dns_resolution_failure: 'failed',
  no_healthy_upstream: 'failed',
  upstream_connection_termination: 'failed',
  upstream_remote_reset: 'failed',
  upstream_protocol_error: 'failed',
  upstream_overflow: 'failed',
  overload_manager: 'failed',
  no_cluster_found: 'failed',
  no_route_found: 'failed',
  no_filter_config_found: 'failed',
  local_reset: 'failed',
  downstream_protocol_error: 'refused',
}

/** What became of a call, and for anything but `ok` why: one of the flags above, or the status. */
export const outcome = ({ status, flags }: Call): { readonly outcome: Outcome; readonly reason: string } => {
  for (const flag of flags) {
    const decided = Object.hasOwn(FLAGS, flag) ? FLAGS[flag] : undefined
    if (decided !== undefined) return { outcome: decided, reason: flag }
  }
  if (status >= 200 && status < 400) return { outcome: 'ok', reason: '' }
  const reason = status >= 100 && status < 600 ? String(Math.trunc(status)) : 'none'
  if (status === 504 || status === 408) return { outcome: 'timeout', reason }
  return { outcome: status >= 400 && status < 500 ? 'refused' : 'failed', reason }
}
