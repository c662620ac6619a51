/** Where the gateway's and Envoy's Unix sockets lie. */
import { join } from 'node:path'

/** Absolute paths, in one directory that only its owner can enter. */
export interface RunPaths {
  readonly ads: string
  readonly extProc: string
  readonly broker: string
  /** Envoy's listener for the broker; every Envoy has one of its own. */
  readonly inner: string
  /** Envoy's admin page. */
  readonly admin: string
}

/** `serve` and `bootstrap` must agree on the names without talking to each other; `inner` and `admin` carry the Envoy's. */
export const runPaths = (directory: string, node: string): RunPaths => ({
  ads: join(directory, 'ads.sock'),
  extProc: join(directory, 'ext-proc.sock'),
  broker: join(directory, 'broker.sock'),
  inner: join(directory, `inner-${node}.sock`),
  admin: join(directory, `admin-${node}.sock`),
})
