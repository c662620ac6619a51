/** Binds each address once before Envoy does: two Envoys share a port without a word. */
import { once } from 'node:events'
import { connect, createServer, type Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Address } from '../registry/model.ts'
import { errorCode, errorText, StartProblem } from './start-problem.ts'

const textOf = ({ host, port }: Address): string => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`)

/** Options reach us through npm only after two hyphens. */
const freePorts = `${process.env['npm_lifecycle_event'] === 'start' ? 'npm start -- ' : ''}--listen 127.0.0.1:0 --admin 127.0.0.1:0`

const problem = (address: Address, error: unknown): StartProblem => {
  const where = textOf(address)
  switch (errorCode(error)) {
    case 'EADDRINUSE':
      return new StartProblem(
        `${where} is in use`,
        `stop what listens there (\`lsof -i :${address.port}\` names it), or take free ports: ${freePorts}`,
      )
    case 'EACCES':
      return new StartProblem(`no permission to listen on ${where}`, 'choose a port of 1024 or above')
    case 'EADDRNOTAVAIL':
      return new StartProblem(
        `${where} is not an address of this machine`,
        'listen on 127.0.0.1, or on one that it has',
      )
    default:
      return new StartProblem(`cannot listen on ${where}: ${errorText(error)}`, 'choose another address')
  }
}

const bind = async (address: Address): Promise<Server> => {
  const server = createServer()
  try {
    server.listen({ host: address.host, port: address.port, exclusive: true })
    await once(server, 'listening')
  } catch (error) {
    throw problem(address, error)
  }
  return server
}

/**
 * The same addresses with a real port in place of each 0. They are free when this returns.
 * @throws StartProblem
 */
export const claimPorts = async (addresses: readonly Address[]): Promise<readonly Address[]> => {
  const servers: Server[] = []
  try {
    const claimed: Address[] = []
    // One after the other and all held together: no two zeros get the same port.
    for (const address of addresses) {
      const server = await bind(address)
      servers.push(server)
      const bound = server.address()
      claimed.push({
        host: address.host,
        port: bound !== null && typeof bound === 'object' ? bound.port : address.port,
      })
    }
    return claimed
  } finally {
    await Promise.all(servers.map((server) => new Promise((closed) => server.close(closed))))
  }
}

const connects = ({ host, port }: Address): Promise<boolean> =>
  new Promise((answer) => {
    const socket = connect({ host, port })
    socket.once('connect', () => {
      socket.destroy()
      answer(true)
    })
    socket.once('error', () => answer(false))
  })

const LOOK_AGAIN_MS = 10

/** Whether a connection is taken there within that time. */
export const accepts = async (address: Address, withinMs = 5_000): Promise<boolean> => {
  const deadline = performance.now() + withinMs
  while (!(await connects(address))) {
    if (performance.now() > deadline) return false
    await sleep(LOOK_AGAIN_MS)
  }
  return true
}
