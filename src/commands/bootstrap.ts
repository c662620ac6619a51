/** `mcp-gateway bootstrap`: what an Envoy of yours starts with to be configured by a `serve`. */
import { resolve } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { StartProblem } from '../envoy/start-problem.ts'
import { type RunPaths, runPaths } from '../xds/run-paths.ts'
import { DEFAULT_NODE, defaultRunDirectory } from './run-directory.ts'
import { print } from './terminal.ts'

interface BootstrapOptions {
  readonly run?: string
  readonly node: string
  readonly json?: boolean
}

/** It becomes part of the names of two sockets. */
const nodeId = (text: string): string => {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/u.test(text))
    throw new InvalidArgumentError('It must be up to 32 letters, digits, dots, hyphens and underscores.')
  return text
}

/** Envoy cuts longer paths without a word. */
const LONGEST_PATH = 100

const checked = (paths: RunPaths): RunPaths => {
  const long = Object.values(paths).find((path) => Buffer.byteLength(path) > LONGEST_PATH)
  if (long === undefined) return paths
  throw new StartProblem(`the path of a socket has over ${LONGEST_PATH} bytes: ${long}`, 'choose a shorter --run')
}

export const bootstrap = (): Command =>
  new Command('bootstrap')
    .description('the bootstrap for an Envoy of yours; it points at a serve on this machine')
    .argument('[file]', 'the registry', 'registry.yaml')
    .option('--run <dir>', 'the same as that of serve')
    .option('--node <id>', 'its name; every Envoy needs its own', nodeId, DEFAULT_NODE)
    .option('--json', 'for programs')
    .action(async (file: string, { run, node, json = false }: BootstrapOptions) => {
      const { goodRegistry } = await import('./registry-file.ts')
      if (goodRegistry(file) === undefined) return
      const { bootstrap: message } = await import('../xds/bootstrap.ts')
      const { yamlText } = await import('../xds/render.ts')
      const directory = resolve(run ?? defaultRunDirectory())
      const value = message({ nodeId: node, run: checked(runPaths(directory, node)) })
      print(json ? JSON.stringify(value, undefined, 2) : yamlText(value).trimEnd())
    })
