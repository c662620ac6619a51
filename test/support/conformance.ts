/** Runs the published conformance suite against a URL and returns what each of its scenarios found. */
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { parse } from 'yaml'
import { z } from 'zod'

const packageDirectory = new URL('../../node_modules/@modelcontextprotocol/conformance/', import.meta.url)
const hook = new URL('./node20-globsync.mjs', import.meta.url)
const run = promisify(execFile)

const requirementsFile = z.object({
  server: z.array(z.string()),
  not_scored: z.array(z.object({ scenario: z.string(), leg: z.string() })),
})
const checksFile = z.array(
  z.object({
    id: z.string(),
    status: z.string(),
    errorMessage: z.string().optional(),
    details: z.unknown().optional(),
  }),
)

/** What one scenario found. */
export interface Scenario {
  readonly name: string
  /** It counts towards the revision's requirements; the others are run and shown. */
  readonly scored: boolean
  /** Nothing failed, and something succeeded. A scenario that did not run has not passed. */
  readonly passed: boolean
  /** `check id: STATUS` of what did not succeed: failures, warnings, skipped checks. Sorted. */
  readonly shortfalls: readonly string[]
  /** The ids of the checks that succeeded, as often as they did. Sorted. */
  readonly succeeded: readonly string[]
  /** What the suite says about the shortfalls. */
  readonly why: string
}

/** The scenarios that a revision requires of a server, in the suite's order, and those it merely runs. */
export const requiredScenarios = async (revision: string): Promise<{ scored: string[]; unscored: string[] }> => {
  const text = await readFile(new URL(`requirements/${revision}.yaml`, packageDirectory), 'utf8')
  const { server, not_scored } = requirementsFile.parse(parse(text))
  return { scored: server, unscored: not_scored.filter(({ leg }) => leg === 'server').map(({ scenario }) => scenario) }
}

/** Runs everything the revision requires against the server at `url`. Fails only when the suite itself could not run. */
export const conformance = async (url: string, revision: string): Promise<readonly Scenario[]> => {
  const { scored, unscored } = await requiredScenarios(revision)
  const out = await mkdtemp(path.join(tmpdir(), 'conformance-'))
  try {
    const suite = fileURLToPath(new URL('dist/index.js', packageDirectory))
    const args = ['server', '--url', url, '--requirements', revision, '--output-dir', out]
    const said = await run(process.execPath, ['--import', hook.href, suite, ...args], {
      timeout: 200_000,
      maxBuffer: 64 << 20,
    }).catch((error: unknown) => error)
    const directories = await readdir(out)
    if (directories.length === 0) throw new Error('the suite ran no scenario', { cause: said })
    return await Promise.all(
      [...scored, ...unscored].map(async (name) => scenario(name, scored.includes(name), await checks(out, name))),
    )
  } finally {
    await rm(out, { recursive: true })
  }
}

type Checks = z.infer<typeof checksFile>

/** The suite writes a directory for each scenario, named after it and the time. */
const checks = async (out: string, name: string): Promise<Checks> => {
  const pattern = new RegExp(`^server-${name}-\\d{4}-\\d\\d-\\d\\dT`)
  const found = (await readdir(out)).filter((directory) => pattern.test(directory))
  const files = await Promise.all(
    found.map((directory) =>
      // A scenario that broke down leaves none; it has not passed.
      readFile(path.join(out, directory, 'checks.json'), 'utf8').catch(() => '[]'),
    ),
  )
  return files.flatMap((text) => checksFile.parse(JSON.parse(text)))
}

const scenario = (name: string, scored: boolean, all: Checks): Scenario => {
  // INFO is what happened on the way, and what could not be asked of a server that answers as JSON.
  const told = all.filter(({ status }) => status !== 'INFO')
  const short = told.filter(({ status }) => status !== 'SUCCESS')
  return {
    name,
    scored,
    passed: told.some(({ status }) => status === 'SUCCESS') && told.every(({ status }) => status !== 'FAILURE'),
    shortfalls: short.map(({ id, status }) => `${id}: ${status}`).toSorted(),
    succeeded: told
      .filter(({ status }) => status === 'SUCCESS')
      .map(({ id }) => id)
      .toSorted(),
    why: short
      .map(({ id, errorMessage = '', details }) => `${id}: ${errorMessage} ${JSON.stringify(details)}`)
      .join('\n'),
  }
}
