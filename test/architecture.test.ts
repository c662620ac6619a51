/** The rules of the house: who imports whom, who touches the outside, how files look, and that pages about them are true. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, extname, join, relative } from 'node:path'
import t from 'tap'
import { described, sentenceOf } from '../scripts/architecture.ts'
import { stale } from '../scripts/generate.ts'
import * as headers from '../src/mcp/headers.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

/** Paths of all files of ours, from the root. Whoever works here may have scratch files; names with a dot first are skipped. */
const files = (folder = ''): readonly string[] =>
  readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return SKIPPED.has(path) || entry.name.startsWith('.') ? [] : files(path)
    return entry.isFile() ? [path] : []
  })
const SKIPPED = new Set(['node_modules', 'dist'])

const all = [...files(), '.ci/run', '.taprc', '.npmrc', '.gitignore', '.oxlintrc.json']
const under = (...folders: readonly string[]): readonly string[] =>
  all.filter((path) => /\.(ts|mjs)$/.test(path) && folders.some((folder) => path.startsWith(`${folder}/`)))
const sources = under('src').map((path) => ({ path: relative('src', path), text: read(path) }))
const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0

/** Without comments. Strings stay. */
const code = (text: string): string =>
  text
    .split('\n')
    .filter((line) => !/^\s*(\/\/|\/\*|\*)/.test(line))
    .map((line) => line.replace(/\s\/\/ .*$/, ''))
    .join('\n')

// --- imports ------------------------------------------------------------------------------------------------------

interface Import {
  /** A path under src/, or a package. */
  readonly from: string
  readonly ours: boolean
  /** Names of values; `*` for a namespace, a default or a dynamic import. Empty: types only. */
  readonly values: readonly string[]
}

const STATEMENT = /^(?:import|export)\b([^;'"`=()]*?)\bfrom\s+'([^']+)'|^import\s+'([^']+)'|\bimport\(\s*'([^']+)'/gm

const valuesIn = (clause: string): readonly string[] => {
  if (/^\s*type\b/.test(clause)) return []
  const braces = /\{([^}]*)\}/.exec(clause)?.[1] ?? ''
  const named = braces
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && !name.startsWith('type '))
  return clause.replace(/\{[^}]*\}/, '').replaceAll(/[\s,]/g, '') === '' ? named : ['*', ...named]
}

const importsOf = (path: string, text: string): readonly Import[] =>
  [...text.matchAll(STATEMENT)].map(([, clause, named, bare, dynamic]) => {
    const specifier = named ?? bare ?? dynamic ?? ''
    const ours = specifier.startsWith('.')
    return {
      from: ours ? join(dirname(path), specifier) : specifier,
      ours,
      values: clause === undefined ? ['*'] : valuesIn(clause),
    }
  })

// --- the table in ARCHITECTURE.md ---------------------------------------------------------------------------------

const architecture = read('ARCHITECTURE.md')
const quoted = (cell = ''): readonly string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name)

const parts = (/<!-- parts -->(.*)<!-- \/parts -->/s.exec(architecture)?.[1] ?? '')
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) => {
    const [, part = '', , mayImport = '', outside = ''] = line.split('|').map((cell) => cell.trim())
    const [name = ''] = quoted(part)
    const folder = name.endsWith('/') ? name : ''
    return {
      name,
      everything: mayImport === 'everything',
      mayImport: quoted(mayImport),
      outside: quoted(outside).map((file) => folder + file),
    }
  })
type Part = (typeof parts)[number]

const isIn = (path: string, name: string): boolean => (name.endsWith('/') ? path.startsWith(name) : path === name)
const partOf = (path: string): Part | undefined => parts.find(({ name }) => isIn(path, name))

void t.test('every file belongs to a part, and every part has files', async (t) => {
  t.same(
    sources.filter(({ path }) => partOf(path) === undefined).map(({ path }) => path),
    [],
  )
  t.same(
    parts.filter(({ name }) => !sources.some(({ path }) => isIn(path, name))).map(({ name }) => name),
    [],
  )
})

void t.test('a part imports what its row names', async (t) => {
  for (const part of parts) {
    await t.test(part.name, async (t) => {
      const imports = sources
        .filter(({ path }) => isIn(path, part.name))
        .flatMap(({ path, text }) => importsOf(path, text).map((each) => ({ path, ...each })))
        .filter(({ ours }) => ours)
      t.same(
        imports.filter(({ from }) => !sources.some(({ path }) => path === from)).map(({ path, from }) => [path, from]),
        [],
        'each import is a file',
      )
      if (part.everything) return
      const allowed = [part.name, ...part.mayImport]
      t.same(
        imports
          .filter(({ from }) => !allowed.some((name) => isIn(from, name)))
          .map(({ path, from }) => `${path} imports ${from}`),
        [],
      )
      t.same(
        part.mayImport.filter((name) => !imports.some(({ from }) => isIn(from, name))),
        [],
        'nothing is allowed that nobody needs',
      )
    })
  }
})

void t.test('no files import each other in circles, types included', async (t) => {
  const imports = new Map(
    sources.map(({ path, text }) => [
      path,
      importsOf(path, text)
        .filter(({ ours }) => ours)
        .map(({ from }) => from),
    ]),
  )
  const circles: string[] = []
  const done = new Set<string>()
  const walk = (path: string, way: readonly string[]): void => {
    if (way.includes(path)) circles.push([...way.slice(way.indexOf(path)), path].join(' → '))
    if (done.has(path) || way.includes(path)) return
    for (const next of imports.get(path) ?? []) walk(next, [...way, path])
    done.add(path)
  }
  for (const path of imports.keys()) walk(path, [])
  t.same(circles, [])
})

/** Packages and modules through which something of the outside can be touched. */
const OUTSIDE =
  /^(node:(net|https?|http2|tls|dgram|dns|fs|child_process|cluster|worker_threads|readline|repl)(\/.*)?|undici|@grpc\/grpc-js|chokidar|pino|@modelcontextprotocol\/.*)$/
/** Values among theirs that only compute. */
const PURE = new Set(['isIP', 'isIPv4', 'isIPv6', 'BlockList', 'constants'])
/** The same without an import: the global fetch, our own streams and signals, protobufjs reading files. */
const OUTRIGHT = /(?<![.\w])fetch\(|\bprocess\.(std(out|err|in)\.(write|on|pipe)|on|once|kill|exit)\b|\.loadSync\(/

const touches = (path: string, text: string): boolean =>
  OUTRIGHT.test(code(text)) ||
  importsOf(path, text).some(({ from, values }) => OUTSIDE.test(from) && values.some((name) => !PURE.has(name)))

void t.test('only the files in the last column touch the outside', async (t) => {
  t.same(
    sources.filter(({ path, text }) => touches(path, text)).map(({ path }) => path),
    parts
      .flatMap(({ outside }) => outside)
      .toSorted((a, b) => sources.findIndex(({ path }) => path === a) - sources.findIndex(({ path }) => path === b)),
  )
})

void t.test('the parser of imports sees every form', async (t) => {
  const text = `import a from 'a'
import { type B, c as d } from './b.ts'
import type { E } from '../e.ts'
import {
  f,
  type G,
} from 'node:fs'
import * as h from 'h'
export { i } from './i.ts'
import './j.ts'
const k = await import('../k.ts')
const l = Buffer.from('l')
`
  t.same(
    importsOf('x/y.ts', text).map(({ from, values }) => [from, ...values]),
    [
      ['a', '*'],
      ['x/b.ts', 'c as d'],
      ['e.ts'],
      ['node:fs', 'f'],
      ['h', '*'],
      ['x/i.ts', 'i'],
      ['x/j.ts', '*'],
      ['k.ts', '*'],
    ],
  )
  t.ok(touches('x/y.ts', text))
  t.notOk(touches('x/y.ts', "import { isIP } from 'node:net'\nimport type { Server } from 'node:http'\n"))
})

// --- files --------------------------------------------------------------------------------------------------------

void t.test('every source file says on its first line what it is', async (t) => {
  const silent = under('src', 'test', 'scripts', 'bench', 'examples').filter(
    (path) => sentenceOf(read(path)) === undefined,
  )
  t.same(silent, [])
})

void t.test('files are named in kebab-case, in folders that say what is in them', async (t) => {
  const named = under('src', 'test', 'scripts', 'bench', 'examples')
  t.same(
    named.filter((path) => !/^[a-z0-9-]+(\/[a-z0-9-]+)*(\.test)?\.(ts|mjs)$/.test(path)),
    [],
  )
  t.same(
    named.filter((path) => /(^|\/)(utils?|helpers?|common|types|lib|shared|misc)(\/|\.ts)/.test(path)),
    [],
  )
})

void t.test('no barrels', async (t) => {
  t.same(
    sources
      .filter(({ path, text }) => /(^|\/)index\.ts$/.test(path) || /^export \* /m.test(text))
      .map(({ path }) => path),
    [],
  )
})

void t.test('files are small', async (t) => {
  const sizes = sources.map(({ path, text }) => ({
    path,
    lines: code(text)
      .split('\n')
      .filter((line) => line.trim() !== '').length,
  }))
  t.same(
    sizes.filter(({ lines }) => lines > 350),
    [],
    'none has more than 350 lines of code',
  )
  t.ok(median(sizes.map(({ lines }) => lines)) < 150, 'half of them have fewer than 150')
})

// --- names --------------------------------------------------------------------------------------------------------

/** Where a name has to stand a second time, and why. */
const REPEATED: Readonly<Record<string, string>> = {
  'registry/header-name.ts': 'what an author may not set is said by prefix, and a registry imports nothing of ours',
}

void t.test('wire names are written once, in mcp/headers.ts', async (t) => {
  const wire = /x-mcp-|mcp-session-id|mcp-protocol-version|last-event-id/
  t.same(
    sources.filter(({ text }) => wire.test(code(text))).map(({ path }) => path),
    ['mcp/headers.ts', ...Object.keys(REPEATED)],
  )
})

void t.test('no identifier holds a date', async (t) => {
  const strings = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g
  for (const { path, text } of sources)
    t.same(
      [
        ...code(text)
          .replaceAll(strings, '')
          .matchAll(/\b[A-Za-z_$]\w*20[23]\d\w*/g),
      ].map(([name]) => name),
      [],
      path,
    )
})

// --- what no file may say -----------------------------------------------------------------------------------------

const BINARY = new Set(['.png', '.ico', '.gz', '.tgz', '.zip'])

/** Written so that this file does not match itself. */
const FORBIDDEN: readonly (readonly [what: string, pattern: RegExp])[] = [
  ['a path of one machine', /(?<![\w.~>-])\/(?:root|work|home\/\w+|Users\/\w+)\//],
  ['a package registry', /registry[.](?:npm|yarn)\w*[.]|\bpypi[.]|pythonhosted[.]|yarnpkg[.]|proxy[.]golang/i],
  ['the number of an issue', /\bissues?[ ]#?\d|\bGH-\d/i],
]

void t.test('no file names a machine, a registry of packages or an issue', async (t) => {
  const texts = all.filter((path) => !BINARY.has(extname(path)) && !path.startsWith('bench/results/'))
  for (const [what, pattern] of FORBIDDEN) {
    const found = texts.flatMap((path) => {
      const hit = pattern.exec(read(path))?.[0]
      return hit === undefined ? [] : [`${path}: ${hit}`]
    })
    t.same(found, [], what)
  }
  t.notMatch(read('package-lock.json'), /"resolved"/)
})

// --- pages --------------------------------------------------------------------------------------------------------

const pages = all.filter((path) => path.endsWith('.md'))

void t.test('ARCHITECTURE.md and docs/errors.md are fresh', async (t) => t.same(stale(root, described(root)), []))

void t.test('links between pages lead somewhere', async (t) => {
  for (const page of pages) {
    const targets = [...read(page).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)/g)].map(
      ([, to = '']) => to,
    )
    t.same(
      targets.filter((to) => !existing.has(join(dirname(page), to).replace(/\/$/, ''))),
      [],
      page,
    )
  }
})
const existing = new Set(
  all.flatMap((path) => path.split('/').map((_, depth, steps) => steps.slice(0, depth + 1).join('/'))),
)

void t.test('the tests that ARCHITECTURE.md names exist', async (t) => {
  const text = architecture.replaceAll(/\s+/g, ' ')
  const claims = [...text.matchAll(/`(test\/[\w.-]+)`((?:,? “[^”]+”)*)/g)].flatMap(([, file = '', names = '']) =>
    [...names.matchAll(/“([^”]+)”/g)].map(([, name = '']) => ({ file, name })),
  )
  t.ok(claims.length >= 10)
  for (const { file, name } of claims) {
    const tests = all.includes(file) ? read(file).replaceAll(/t\.test\(\s+/g, 't.test(') : ''
    t.ok(tests.includes(`t.test('${name}'`) || tests.includes(`t.test("${name}"`), `${file}: ${name}`)
  }
  const invariants = [...architecture.matchAll(/^(\d+)\. \*\*/gm)].map(([, number]) => Number(number))
  t.same(invariants, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
})

void t.test('the index of decisions is complete', async (t) => {
  const records = all.filter((path) => /^docs\/decisions\/\d{4}-/.test(path)).toSorted()
  const index = read('docs/decisions/README.md')
  const rows = records.map((path, at) => {
    const [, number, title = ''] = /^# (\d+)\. (.+)/.exec(read(path)) ?? []
    t.equal(Number(number), at + 1, `${path} has its number`)
    return `| ${at + 1} | [${title}](${relative('docs/decisions', path)}) |`
  })
  t.same(
    index.split('\n').filter((line) => /^\| \d/.test(line)),
    rows,
  )
})

void t.test('the README has every command', async (t) => {
  const listed = [...read('README.md').matchAll(/^\| `mcp-gateway ([a-z-]+)/gm)].map(([, name = '']) => name)
  const there = sources.flatMap(({ text }) => /^\/\*\* `mcp-gateway ([a-z-]+)`:/.exec(text)?.[1] ?? [])
  t.same(listed.toSorted(), there.toSorted())
})

void t.test('docs/policy-contract.md has every header that is published, and no other', async (t) => {
  const published = [
    headers.METHOD,
    headers.SERVER_NAME,
    headers.TOOL_NAME,
    headers.PROMPT_NAME,
    headers.RESOURCE_URI,
    headers.ANNOTATION_HINTS,
    headers.DECISION_ID,
  ]
  t.same(
    [...read('docs/policy-contract.md').matchAll(/^\| `(x-mcp-[a-z-]+)`/gm)].map(([, name]) => name),
    published,
  )
})
