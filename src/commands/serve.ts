/** `mcp-gateway serve`: the gateway without an Envoy; yours connect through the sockets in `--run`. */
import { Command } from 'commander'
import { type CommonOptions, openLog, overrides, withGatewayOptions } from './gateway-options.ts'
import { defaultRunDirectory } from './run-directory.ts'
import { runGateway } from './run-gateway.ts'
import { serverTable } from './welcome.ts'

interface ServeOptions extends CommonOptions {
  readonly run?: string
}

export const serve = (): Command =>
  withGatewayOptions(new Command('serve'), 'info')
    .description('the same without Envoy: your own Envoys on this machine connect to it')
    .argument('[file]', 'the registry', 'registry.yaml')
    .option('--run <dir>', 'where the sockets lie; give the same to bootstrap')
    .action(async (file: string, options: ServeOptions) => {
      const code = await runGateway(
        {
          file,
          overrides: overrides(options),
          envoy: 'external',
          runDir: options.run ?? defaultRunDirectory(),
          concurrency: 1,
          accessLog: false,
          log: await openLog(options),
        },
        ({ url, admin, status }) => `ready at ${url}, status page ${admin}\n${serverTable(status.servers)}`,
      )
      process.exit(code)
    })
