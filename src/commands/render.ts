/** `mcp-gateway render`: every resource Envoy would get, as YAML, secrets redacted. */
import { resolve } from 'node:path'
import { Command } from 'commander'
import { DEFAULT_NODE, defaultRunDirectory } from './run-directory.ts'
import { print } from './terminal.ts'

interface RenderOptions {
  readonly run?: string
  readonly json?: boolean
}

export const render = (): Command =>
  new Command('render')
    .description('the Envoy resources of a registry as YAML, secrets redacted')
    .argument('[file]', 'the registry', 'registry.yaml')
    .option('--run <dir>', 'where the sockets of the gateway lie')
    .option('--json', 'for programs')
    .action(async (file: string, { run, json = false }: RenderOptions) => {
      const { goodRegistry } = await import('./registry-file.ts')
      const registry = goodRegistry(file)
      if (registry === undefined) return
      const { keysInFile } = await import('../identity/public-keys.ts')
      const { rendered, yamlText } = await import('../xds/render.ts')
      const { nothingLive, resources } = await import('../xds/resources.ts')
      const { snapshot } = await import('../xds/snapshot.ts')
      const { runPaths } = await import('../xds/run-paths.ts')
      const { systemCa } = await import('../xds/system-ca.ts')
      const paths = runPaths(resolve(run ?? defaultRunDirectory()), DEFAULT_NODE)
      const live = { ...nothingLive, jwks: keysInFile(registry.gateway.auth) }
      const message = rendered(snapshot(resources(registry, paths, systemCa(), live)))
      print(json ? JSON.stringify(message, undefined, 2) : yamlText(message).trimEnd())
    })
