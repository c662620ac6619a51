/** `npm run bench`: measures the gateway beside the server itself and a plain Envoy, prints the table, keeps the samples. */
import { execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Command, InvalidArgumentError } from 'commander'
import { findEnvoy } from '../src/envoy/find.ts'
import { type Bed, startContenders } from './bed.ts'
import { measureCalls, pathsTaken, soak } from './calls.ts'
import { measureColdSessions } from './cold-session.ts'
import { measureLists } from './lists.ts'
import { measureMemory } from './memory.ts'
import { canMeasure, chooseCores, pinThis } from './processes.ts'
import type { Results } from './results.ts'
import { measureRules } from './rules.ts'
import { measureSaves } from './saves.ts'
import { measureStartUp } from './start-up.ts'
import { report } from './table.ts'
import { startLoad, startServers } from './workers.ts'

const PARTS = ['calls', 'cold', 'lists', 'rules', 'saves', 'memory', 'start'] as const
type Part = (typeof PARTS)[number]
const isPart = (text: string): text is Part => PARTS.some((part) => part === text)

interface Options {
  readonly rounds: number
  readonly ms: number
  readonly only: readonly Part[]
  readonly long?: boolean
  readonly name: string
  readonly main: string
  readonly save: boolean
}

const parts = (text: string): readonly Part[] =>
  text.split(',').map((part) => {
    if (!isPart(part)) throw new InvalidArgumentError(`It must be some of ${PARTS.join(',')}.`)
    return part
  })

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const cores = chooseCores()

const options = new Command('bench')
  .option('--rounds <n>', 'rounds of each comparison', Number, 7)
  .option('--ms <n>', 'length of one measurement of calls', Number, 800)
  .option('--only <parts>', `some of ${PARTS.join(',')}`, parts, PARTS)
  .option('--long', 'also 100,000 calls on the direct path')
  .option(
    '--name <name>',
    'of the file in bench/results',
    `${process.platform}-${process.arch}-${availableParallelism()}-cores`,
  )
  .option('--main <file>', 'the command to measure', here('../dist/main.js'))
  .option('--no-save', 'print only')
  .parse()
  .opts<Options>()

const machine: Results['machine'] = {
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: availableParallelism(),
  memoryGb: Math.round(totalmem() / 2 ** 30),
  kernel: `${type()} ${release().split('-')[0]}`,
  pinned: cores.measured !== undefined,
  loadBefore: Math.round((loadavg()[0] ?? 0) * 100) / 100,
}

/** Something else takes more than half a core. */
const BUSY = 0.5

const measure = async (): Promise<Results> => {
  const { only, rounds, ms } = options
  const found = await findEnvoy({ env: process.env })
  pinThis(cores)
  await using servers = await startServers(cores)
  await using load = await startLoad(cores)
  const bed: Bed = {
    cores,
    main: options.main,
    envoy: found.path,
    servers,
    load,
    say: (line) => process.stderr.write(`${line}\n`),
  }
  const version = execFileSync(process.execPath, [options.main, '--version'], { encoding: 'utf8' }).trim()
  let results: Results = {
    measuredAt: new Date().toISOString(),
    command: `npm run bench${options.long === true ? ' -- --long' : ''}`,
    machine,
    versions: { gateway: version, envoy: found.version, node: process.versions.node },
  }
  if (only.includes('start')) results = { ...results, readyMs: await measureStartUp(bed, 10) }
  if (only.includes('calls') || only.includes('cold') || options.long === true) {
    await using contenders = await startContenders(bed)
    if (only.includes('calls')) {
      const calls = await measureCalls(bed, contenders, { rounds, ms })
      const { stateful, stateless } = contenders.gateways
      const paths = await pathsTaken(stateful)
      results = { ...results, calls, paths, statelessPaths: await pathsTaken(stateless) }
    }
    // After the calls: what is cold is the client, not the gateway.
    if (only.includes('cold'))
      results = { ...results, cold: await measureColdSessions(bed, contenders, { rounds, sessions: 20 }) }
    if (options.long === true) results = { ...results, soak: await soak(bed, contenders, 100_000) }
  }
  if (only.includes('lists')) results = { ...results, lists: await measureLists(bed, { rounds, requests: 50 }) }
  if (only.includes('rules')) results = { ...results, rules: await measureRules(bed, { rounds, ms }) }
  if (only.includes('saves')) results = { ...results, saves: await measureSaves(bed, 100) }
  if (only.includes('memory') && canMeasure) results = { ...results, memory: await measureMemory(bed, 500) }
  return results
}

if (machine.loadBefore > BUSY) {
  process.stderr.write(`the machine is busy (load ${machine.loadBefore}): a quiet one gives better figures\n`)
}
const results = await measure()
if (options.save) {
  const folder = here('results')
  await mkdir(folder, { recursive: true })
  await writeFile(`${folder}/${options.name}.json`, `${JSON.stringify(results, null, 1)}\n`)
  process.stderr.write(`kept in bench/results/${options.name}.json; npm run bench:table puts it into the docs\n`)
}
process.stdout.write(`${report(results)}\n`)
const wrong = [
  ...(results.calls ?? []),
  ...(results.lists ?? []),
  ...(results.rules ?? []),
  ...(results.soak === undefined ? [] : [results.soak]),
]
  .flatMap(({ failure }) => failure ?? [])
  .slice(0, 3)
if (wrong.length > 0) {
  process.stderr.write(`requests failed:\n${wrong.join('\n')}\n`)
  process.exitCode = 1
}
