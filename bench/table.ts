/** What a run says in Markdown: the summary for the README and all of it for docs/performance.md. */
import type { CallSample, MemorySample, Paths, Results } from './results.ts'
import { cpuPerRequest, median, perSecond, quantile } from './results.ts'
import { isUnproxied, nameOf, plainFor, type Subject, subjectsIn } from './subjects.ts'

type Row = readonly string[]

const table = (head: Row, rows: readonly Row[]): string =>
  [head, head.map((_, column) => (column === 0 ? '---' : '--:')), ...rows]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n')

/** Two or three digits that say something; a dash for what was not measured. */
const figure = (value: number): string =>
  !(value > 0) ? '–' : value >= 100 ? String(Math.round(value)) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
const thousands = (value: number): string => Math.round(value).toLocaleString('en-US')
const times = (value: number): string => (Number.isNaN(value) ? '–' : `${value.toFixed(2)} ×`)

const size = (bytes: number): string => (bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`)

/** The median of the ratios to Envoy alone with the same kind of request, each within its own round. */
const ratio = <Sample extends { readonly round: number; readonly subject: Subject }>(
  samples: readonly Sample[],
  subject: Subject,
  of: (sample: Sample) => number,
): number => {
  const alone = plainFor(subject)
  const plain = new Map(samples.filter((one) => one.subject === alone).map((one) => [one.round, of(one)]))
  return median(samples.filter((one) => one.subject === subject).map((one) => of(one) / (plain.get(one.round) ?? NaN)))
}

const middle = <Sample extends { readonly subject: Subject }>(
  samples: readonly Sample[],
  subject: Subject,
  of: (sample: Sample) => number,
): number => median(samples.filter((one) => one.subject === subject).map(of))

const shapesOf = (samples: readonly CallSample[]): readonly (readonly CallSample[])[] => {
  const shapes = new Map<string, CallSample[]>()
  for (const sample of samples) {
    const key = `${sample.bytes} ${sample.concurrency}`
    const known = shapes.get(key)
    if (known === undefined) shapes.set(key, [sample])
    else known.push(sample)
  }
  return [...shapes.values()]
}

const callTable = (samples: readonly CallSample[]): string =>
  table(
    ['calls', '', '÷ Envoy alone', 'calls/s', 'p50 ms', 'p99 ms', 'CPU ms per call', 'of it Node'],
    shapesOf(samples).flatMap((shape) =>
      subjectsIn(shape).map((subject, index) => {
        const { concurrency = 0, bytes = 0 } = shape[0] ?? {}
        const measured = !isUnproxied(subject) && middle(shape, subject, cpuPerRequest) > 0
        return [
          index === 0 ? `${concurrency} at a time, ${size(bytes)}` : '',
          nameOf(subject),
          times(ratio(shape, subject, perSecond)),
          thousands(middle(shape, subject, perSecond)),
          figure(middle(shape, subject, ({ p50Ms }) => p50Ms)),
          figure(middle(shape, subject, ({ p99Ms }) => p99Ms)),
          measured ? figure(middle(shape, subject, cpuPerRequest)) : '–',
          measured ? figure(middle(shape, subject, ({ cpuMs, requests }) => cpuMs.node / requests)) : '–',
        ]
      }),
    ),
  )

const coldTable = ({ cold = [] }: Results): string =>
  table(
    ['a new client', '÷ Envoy alone', 'p50 ms', 'CPU ms'],
    subjectsIn(cold).map((subject) => [
      nameOf(subject),
      times(ratio(cold, subject, ({ p50Ms }) => p50Ms)),
      figure(middle(cold, subject, ({ p50Ms }) => p50Ms)),
      isUnproxied(subject)
        ? '–'
        : figure(middle(cold, subject, ({ cpuMs, sessions }) => (cpuMs.node + cpuMs.envoy) / sessions)),
    ]),
  )

const listTable = ({ lists = [] }: Results): string => {
  const sizes = [...new Set(lists.map(({ servers, tools }) => `${servers} × ${tools}`))]
  return table(
    ['tools/list', 'answer', 'CPU ms', 'p50 ms', 'p99 ms', 'p50 ms with a silent server among them'],
    sizes.map((name) => {
      const all = lists.filter(({ servers, tools }) => `${servers} × ${tools}` === name)
      const plain = all.filter(({ silent }) => !silent)
      return [
        `${name} tools`,
        `${Math.round((plain[0]?.answerBytes ?? 0) / 1024)} KiB`,
        figure(median(plain.map(cpuPerRequest))),
        figure(median(plain.map(({ p50Ms }) => p50Ms))),
        figure(median(plain.map(({ p99Ms }) => p99Ms))),
        figure(median(all.filter(({ silent }) => silent).map(({ p50Ms }) => p50Ms))),
      ]
    }),
  )
}

/** Each against the same calls without a token, within its own round. */
const rulesTable = ({ rules = [] }: Results): string => {
  const plain = new Map(rules.filter((one) => !one.authenticated).map((one) => [one.round, perSecond(one)]))
  const settings = new Map(rules.map((one) => [`${one.authenticated} ${one.rules}`, one]))
  const inOrder = [...settings.values()].sort((a, b) => +a.authenticated - +b.authenticated || a.rules - b.rules)
  return table(
    [
      'direct path, 16 calls at a time, 200 B',
      '÷ without a token',
      'calls/s',
      'p50 ms',
      'CPU ms per call',
      'of it Node',
    ],
    inOrder.map(({ authenticated, rules: count }) => {
      const own = rules.filter((one) => one.authenticated === authenticated && one.rules === count)
      return [
        authenticated ? `a token, ${count === 0 ? 'no' : thousands(count)} rules about the tool` : 'no token, no rules',
        times(median(own.map((one) => perSecond(one) / (plain.get(one.round) ?? NaN)))),
        thousands(median(own.map(perSecond))),
        figure(median(own.map(({ p50Ms }) => p50Ms))),
        figure(median(own.map(cpuPerRequest))),
        figure(median(own.map(({ cpuMs, requests }) => cpuMs.node / requests))),
      ]
    }),
  )
}

const total = ({ nodeMb, envoyMb }: Pick<MemorySample, 'nodeMb' | 'envoyMb'>): number => nodeMb + envoyMb

/** MiB for each session above what the gateway takes idle. */
const perSession = (memory: readonly MemorySample[], when: MemorySample['when']): number => {
  const idle = memory.find((sample) => sample.when === 'idle')
  const sample = memory.find((other) => other.when === when)
  return idle === undefined || sample === undefined ? NaN : (total(sample) - total(idle)) / sample.sessions
}

/** What stands on its own, in the order in which a reader asks. */
const facts = (results: Results): readonly Row[] => {
  const { saves = [], memory = [], readyMs = [], soak } = results
  const idle = memory.find(({ when }) => when === 'idle')
  const sessions = memory.find(({ when }) => when === 'sessions')?.sessions ?? 0
  const serving = saves.map(({ servingMs }) => servingMs)
  const envoyMs = saves.map((save) => save.envoyMs)
  return [
    ...(saves.length === 0
      ? []
      : [
          [
            `saving the registry → a new server's tool answers, ${saves.length} edits`,
            `p50 ${figure(median(serving))} ms, p99 ${figure(quantile(serving, 0.99))} ms`,
          ],
          [
            '… of it until Envoy has acknowledged everything',
            `p50 ${figure(median(envoyMs))} ms, p99 ${figure(quantile(envoyMs, 0.99))} ms`,
          ],
        ]),
    ...(idle === undefined
      ? []
      : [
          ['memory, idle', `${figure(total(idle))} MiB (Node ${figure(idle.nodeMb)}, Envoy ${figure(idle.envoyMb)})`],
          [
            `… for each of ${sessions} sessions that hold a stream`,
            `${figure(perSession(memory, 'sessions'))} MiB, ${figure(perSession(memory, 'sessions with a server session'))} once they have called a tool`,
          ],
        ]),
    ...(readyMs.length === 0
      ? []
      : [
          [
            `starting \`up\` → ready, ${readyMs.length} starts`,
            `p50 ${figure(median(readyMs))} ms, longest ${figure(Math.max(...readyMs))} ms`,
          ],
        ]),
    ...(soak === undefined
      ? []
      : [
          [
            `${thousands(soak.requests)} calls on the direct path, 16 at a time`,
            `${soak.failed} failed; ${thousands(perSecond(soak))} calls/s, afterwards ${figure(total(soak))} MiB`,
          ],
        ]),
  ]
}

/** How and where, in one paragraph. */
const setting = ({ machine, versions, command, measuredAt, calls = [] }: Results): string => {
  const rounds = new Set(calls.map(({ round }) => round)).size
  const where = machine.pinned
    ? "the gateway's processes (or the Envoy alone) pinned to one core, servers and load generator to the others"
    : 'processes not pinned to cores'
  return `\`${command}\` on ${measuredAt.slice(0, 10)}: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GiB, ${machine.kernel}; gateway ${versions.gateway}, Envoy ${versions.envoy} with one worker, Node ${versions.node}; ${where}; medians of ${rounds} interleaved rounds; all on loopback without TLS. CPU is that of all of the gateway's processes.`
}

const counted = (who: string, { direct = 0, broker = 0 }: Paths): string =>
  `${who} counted ${thousands(direct)} calls on the direct path and ${thousands(broker)} on the broker path.`

/** Everything a run measured. */
export const report = (results: Results): string => {
  const { calls = [], cold = [], lists = [], rules = [], paths, statelessPaths } = results
  const answered = [...calls, ...lists, ...rules]
  const failed = answered.reduce((sum, sample) => sum + sample.failed, 0)
  const requests = answered.reduce((sum, sample) => sum + sample.requests, 0)
  return [
    setting(results),
    ...(calls.length > 0 ? [callTable(calls)] : []),
    ...(requests > 0
      ? [
          [
            `${failed} of ${thousands(requests)} requests failed.`,
            ...(paths === undefined ? [] : [counted('The gateway', paths)]),
            ...(statelessPaths === undefined
              ? []
              : [counted('The one in front of the stateless server', statelessPaths)]),
          ].join(' '),
        ]
      : []),
    ...(cold.length > 0 ? [coldTable(results)] : []),
    ...(lists.length > 0 ? [listTable(results)] : []),
    ...(rules.length > 0 ? [rulesTable(results)] : []),
    ...(facts(results).length > 0 ? [table(['', 'measured'], facts(results))] : []),
  ].join('\n\n')
}

/** What fits a README. */
export const summary = (results: Results): string => {
  const { calls = [] } = results
  const shape = calls.filter(({ concurrency, bytes }) => concurrency === 16 && bytes === 200)
  const cold = results.cold ?? []
  const rows = subjectsIn(shape)
    .filter((subject) => !isUnproxied(subject))
    .map((subject) => [
      nameOf(subject),
      times(ratio(shape, subject, perSecond)),
      thousands(middle(shape, subject, perSecond)),
      figure(middle(shape, subject, cpuPerRequest)),
      figure(middle(shape, subject, ({ p50Ms }) => p50Ms)),
      times(ratio(cold, subject, ({ p50Ms }) => p50Ms)),
    ])
  return [
    table(
      [
        '16 calls at a time, 200 B',
        'calls/s ÷ Envoy alone',
        'calls/s',
        'CPU ms per call',
        'p50 ms',
        'new client ÷ Envoy alone',
      ],
      rows,
    ),
    listTable(results),
    ...((results.rules ?? []).length > 0 ? [rulesTable(results)] : []),
    table(['', 'measured'], facts(results)),
    setting(results),
  ].join('\n\n')
}
