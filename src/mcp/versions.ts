/** The two eras of MCP, the revisions of each that we speak, and how one is agreed on. */

/** `stateful`: initialize and a session. `stateless`: everything a server must know stands in each request. */
export type Era = 'stateful' | 'stateless'

/** Newest first. */
export const STATEFUL_VERSIONS = ['2025-11-25', '2025-06-18', '2025-03-26'] as const
export type StatefulVersion = (typeof STATEFUL_VERSIONS)[number]

/** Newest first. */
export const STATELESS_VERSIONS = ['2026-07-28'] as const
export type StatelessVersion = (typeof STATELESS_VERSIONS)[number]

export const isStateful = (version: string): version is StatefulVersion =>
  STATEFUL_VERSIONS.some((known) => known === version)

export const isStateless = (version: string): version is StatelessVersion =>
  STATELESS_VERSIONS.some((known) => known === version)

/** What `initialize` is answered with: the requested revision, or our newest (2025-11-25 lifecycle, version negotiation). */
export const negotiate = (requested: string | undefined): StatefulVersion =>
  requested !== undefined && isStateful(requested) ? requested : STATEFUL_VERSIONS[0]
