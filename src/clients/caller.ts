/** Whom the broker answers: who asks, in which view, and what of their request a server may be shown. */
import type { Asker } from '../policy/asker.ts'
import { ANYBODY } from '../policy/principal.ts'

export interface Caller extends Asker {
  /** The bearer token that was verified; absent while nobody is authenticated. Never logged, never shown. */
  readonly token?: string
  /** A header of the request, for servers whose entry forwards it. */
  readonly header: (name: string) => string | undefined
}

/** The gateway itself, and whoever asks before anything is known of them. */
export const nobody: Caller = {
  principal: ANYBODY,
  view: '',
  era: 'stateful',
  address: '',
  header: () => undefined,
}
