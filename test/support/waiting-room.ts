/** For those who wait until something has happened: they look again whenever somebody says that something did. */

export interface WaitingRoom {
  /** Something happened. */
  readonly wake: () => void
  /** Resolves with the first thing `look` finds, now or later. */
  readonly until: <T>(look: () => T | undefined) => Promise<T>
}

export const waitingRoom = (): WaitingRoom => {
  const waiting = new Set<() => void>()
  return {
    wake: () => waiting.forEach((look) => look()),
    until: (look) =>
      new Promise((resolve) => {
        const again = (): void => {
          const found = look()
          if (found === undefined) return void waiting.add(again)
          waiting.delete(again)
          resolve(found)
        }
        again()
      }),
  }
}
