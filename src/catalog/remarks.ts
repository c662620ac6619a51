/** What a person should know of servers' words: which are withheld, and which name a tool of another server. */
import type { Lock, Server } from '../registry/model.ts'
import { instructionsOf, vetInstructions } from './approval.ts'
import { membersOf } from './definition.ts'
import { exposedName } from './exposed-name.ts'
import type { RoutingTable } from './routing-table.ts'
import type { Item, ServerCatalogue } from './server-catalogue.ts'

export interface Remark {
  readonly server: string
  readonly message: string
}

type Answers = ReadonlyMap<string, ServerCatalogue>

export const remarks = (
  servers: readonly Server[],
  answers: Answers,
  { tools }: RoutingTable,
  lock: Lock | undefined,
): readonly Remark[] =>
  servers.flatMap((server) => [
    ...withheldInstructions(server.name, answers.get(server.name), lock),
    ...mentions(server, answers.get(server.name), tools),
  ])

const withheldInstructions = (
  server: string,
  answer: ServerCatalogue | undefined,
  lock: Lock | undefined,
): readonly Remark[] => {
  const vetted = vetInstructions(lock, server, instructionsOf(answer))
  return 'withheld' in vetted
    ? [{ server, message: `the instructions of server "${server}" are withheld: ${vetted.withheld}` }]
    : []
}

/** An agent may be led from one server's words to another's tools. Only what clients can see is looked at. */
const mentions = (
  server: Server,
  answer: ServerCatalogue | undefined,
  tools: RoutingTable['tools'],
): readonly Remark[] => {
  const { name } = server
  const remark = (whose: string, words: ReadonlySet<string>): readonly Remark[] => {
    const foreign = [...words].map((word) => tools.get(word)).filter((row) => row !== undefined && row.server !== name)
    const [first, ...more] = foreign
    if (first === undefined) return []
    const others = more.length === 0 ? '' : ` and ${more.length} more`
    return [{ server: name, message: `${whose} "${first.exposed}" of server "${first.server}"${others}` }]
  }
  return [
    ...remark(`the instructions of server "${name}" name`, wordsOf(instructionsOf(answer))),
    ...(answer?.tools ?? []).flatMap((item) => {
      const exposed = exposedName('tools', server, item.own)
      const row = exposed === undefined ? undefined : tools.get(exposed)
      if (row?.server !== name || row.own !== item.own) return []
      return remark(`the description of tool "${row.exposed}" of server "${name}" names`, wordsIn(item))
    }),
  ]
}

/** What in a text may be meant as the name of a tool. A plain word has to stand in quotes: a tool may be called `search`. */
const wordsOf = (text: string): ReadonlySet<string> => {
  const words = new Set<string>()
  for (const [written] of text.matchAll(/[\x21-\x7e]+/g)) {
    const word = written.replaceAll(/^\W+|\W+$/g, '')
    if (!/^[A-Za-z][a-z]*$/.test(word) || /^[`'"].*[`'"]/.test(written)) words.add(word)
  }
  return words
}

/** Of a tool's descriptions, those of its arguments too; read once, since every change of any list merges them all again. */
const wordsIn = (item: Item): ReadonlySet<string> => {
  const known = read.get(item)
  if (known !== undefined) return known
  const words = wordsOf(textsIn(JSON.parse(item.json.toString())).join('\n'))
  read.set(item, words)
  return words
}
const read = new WeakMap<Item, ReadonlySet<string>>()

const textsIn = (value: unknown): readonly string[] =>
  Array.isArray(value)
    ? value.flatMap(textsIn)
    : membersOf(value).flatMap(([key, each]) =>
        typeof each !== 'string' ? textsIn(each) : key === 'title' || key === 'description' ? [each] : [],
      )
