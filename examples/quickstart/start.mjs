/** Starts the quick start's two HTTP servers on free loopback ports, then the gateway in front of them. */
import { createServer, connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { startGuarded } from '../../dist/process/guarded-child.js'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

const freePort = () =>
  new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })

const accepts = (port) =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })

/** Starts a server that ends when this process does, and waits until it listens. */
const start = async (name, args) => {
  const port = await freePort()
  const child = await startGuarded({
    command: process.execPath,
    args,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, PORT: String(port) },
    cwd: here('.'),
  })
  let said = ''
  child.stdout.resume()
  child.stderr.on('data', (chunk) => {
    said = `${said}${chunk}`.slice(-2000)
  })
  let over = false
  child.ended.then(() => {
    over = true
  })
  while (!(await accepts(port))) {
    if (over) throw new Error(`the server "${name}" ended: ${said}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return `http://127.0.0.1:${port}/mcp`
}

const everything = here('../../node_modules/@modelcontextprotocol/server-everything/dist/index.js')
// That server binds every interface by itself; the preload keeps it on loopback.
const [everythingUrl, clockUrl] = await Promise.all([
  start('everything', ['--import', here('bind-loopback.mjs'), everything, 'streamableHttp']),
  start('clock', [here('clock-server.mjs')]),
])
process.env.EVERYTHING_URL = everythingUrl
process.env.CLOCK_URL = clockUrl
process.argv.splice(2, process.argv.length, 'up', here('registry.yaml'), ...process.argv.slice(2))
await import('../../dist/main.js')
