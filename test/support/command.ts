/** One command of the command line as a person or a script runs it: its output and its exit code. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { command } from './gateway.ts'

export interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

const root = fileURLToPath(new URL('../../', import.meta.url))

interface RunOptions {
  /** What standard input holds; default: nothing. */
  readonly input?: string
  /** Variables on top of this process's. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

/** Without colours, in the root of the checkout. */
export const run = (args: readonly string[], { input = '', env = {} }: RunOptions = {}): Promise<Ran> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...command, ...args], {
      cwd: root,
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined, ...env },
    })
    let out = ''
    let err = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, out, err }))
    child.stdin.on('error', () => undefined).end(input)
  })
