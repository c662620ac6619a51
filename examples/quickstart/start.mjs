/** Starts the quick start's two HTTP servers on free loopback ports, then the gateway in front of them. */
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startGuarded } from '../../dist/process/guarded-child.js'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

/** Starts a server that ends when this process does; resolves with the address it prints once it listens. */
const start = async (name, args) => {
  const child = await startGuarded({
    command: process.execPath,
    args,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, PORT: '0' },
    cwd: here('.'),
  })
  return new Promise((resolve, reject) => {
    let said = ''
    const hear = (chunk) => {
      said = `${said}${chunk}`.slice(-10_000)
      const [url] = /^http:\S+$/m.exec(said) ?? []
      if (url !== undefined) resolve(url)
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    void child.ended.then(() => reject(new Error(`the server "${name}" ended:\n${said}`)))
  })
}

const everything = here('../../node_modules/@modelcontextprotocol/server-everything/dist/index.js')
// That server binds every interface by itself; the preload keeps it on loopback.
const [everythingUrl, clockUrl] = await Promise.all([
  start('everything', ['--import', here('bind-loopback.mjs'), everything, 'streamableHttp']),
  start('clock', [here('clock-server.mjs')]),
])
process.env.EVERYTHING_URL = everythingUrl
process.env.CLOCK_URL = clockUrl
const registry = relative(process.cwd(), here('registry.yaml'))
process.argv.splice(2, process.argv.length, 'up', registry, ...process.argv.slice(2))
await import('../../dist/main.js')
