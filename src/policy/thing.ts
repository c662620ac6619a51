/** What somebody may use, or may not: a tool, a prompt, a resource. */

/** A row of the routing table is one. */
export interface Thing {
  readonly exposed: string
  /** The server's own name for it, or its URI. */
  readonly own: string
  readonly server: string
  /** For tools: `readOnly=true,destructive=unspecified,…`. */
  readonly hints: string
}
