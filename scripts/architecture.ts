/** What ARCHITECTURE.md and docs/errors.md say about the code: the tree from each file's first sentence, and the errors. */
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { errorsPage } from './errors-page.ts'

const PAGE = 'ARCHITECTURE.md'

/** Folders in the tree; those that hold parts are shown with everything in them. */
const folders: readonly { readonly name: string; readonly deep: boolean }[] = [
  { name: 'src', deep: true },
  { name: 'scripts', deep: false },
  { name: 'test', deep: false },
  { name: 'bench', deep: false },
]

/** What a source file says about itself in the comment on its first line; undefined: there is no such sentence. */
export const sentenceOf = (text: string): string | undefined =>
  /^(?:#!.*\n)?\/\*\* ([^\n]+\.) \*\/(?:\n|$)/.exec(text)?.[1]

const WIDTH = 30

const line = (root: string, folder: string, name: string, depth: number): string => {
  const sentence = sentenceOf(readFileSync(join(root, folder, name), 'utf8')) ?? ''
  return `${'  '.repeat(depth)}${name}`.padEnd(WIDTH) + sentence
}

const isSource = (name: string): boolean => /\.(ts|mjs)$/.test(name)

const branch = (root: string, folder: string, deep: boolean, depth: number): readonly string[] => {
  const entries = readdirSync(join(root, folder), { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))
  const files = entries.filter((entry) => entry.isFile() && isSource(entry.name))
  const inner = entries.filter((entry) => deep && entry.isDirectory())
  return [
    `${'  '.repeat(depth)}${basename(folder)}/`,
    ...files.map(({ name }) => line(root, folder, name, depth + 1)),
    ...inner.flatMap(({ name }) => branch(root, join(folder, name), deep, depth + 1)),
  ]
}

/** Every source file with its first sentence. */
const tree = (root: string): string => folders.flatMap(({ name, deep }) => branch(root, name, deep, 0)).join('\n')

/** Path → what the file must say, beside what scripts/generate.ts makes from the registry's schema. */
export const described = (root: string): ReadonlyMap<string, string> => {
  const page = readFileSync(join(root, PAGE), 'utf8')
  const made = `<!-- tree -->\n\`\`\`text\n${tree(root)}\n\`\`\`\n<!-- /tree -->`
  return new Map([
    [PAGE, page.replace(/<!-- tree -->.*<!-- \/tree -->/s, () => made)],
    ['docs/errors.md', errorsPage()],
  ])
}
