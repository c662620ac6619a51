/** The stateful protocol revisions we speak, and how one is agreed on. */

/** Newest first. */
export const STATEFUL_VERSIONS = ['2025-11-25', '2025-06-18', '2025-03-26'] as const
export type StatefulVersion = (typeof STATEFUL_VERSIONS)[number]

export const isStateful = (version: string): version is StatefulVersion =>
  STATEFUL_VERSIONS.some((known) => known === version)

/** What `initialize` is answered with: the requested revision, or our newest (2025-11-25 lifecycle, version negotiation). */
export const negotiate = (requested: string | undefined): StatefulVersion =>
  requested !== undefined && isStateful(requested) ? requested : STATEFUL_VERSIONS[0]
