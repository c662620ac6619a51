/** Writes every generated page: those from the registry's schema, and those about the code; with --check, says which are stale. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { jsonSchema } from '../src/registry/schema.ts'
import { described } from './architecture.ts'
import { registryPage } from './registry-page.ts'

/** What comes from the registry's schema: path from the root of the checkout → what the file must say. */
export const generated = (): ReadonlyMap<string, string> =>
  new Map([
    ['schema/registry.json', `${JSON.stringify(jsonSchema(), undefined, 2)}\n`],
    ['docs/registry.md', registryPage()],
  ])

export const stale = (root: string, pages = generated()): readonly string[] =>
  [...pages].filter(([path, content]) => read(join(root, path)) !== content).map(([path]) => path)

const read = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

const main = (check: boolean): void => {
  const root = join(import.meta.dirname, '..')
  const pages = new Map([...generated(), ...described(root)])
  if (check) {
    const paths = stale(root, pages)
    for (const path of paths) console.error(`${path} is stale: run npm run generate`)
    process.exitCode = paths.length > 0 ? 1 : 0
    return
  }
  for (const [path, content] of pages) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), content)
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) main(process.argv.includes('--check'))
