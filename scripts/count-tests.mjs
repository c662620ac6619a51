/** Runs `npm test` and adds a last line, `N passed, N failed`; nothing passed or no end of it is a failure. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

// TAP whether or not a terminal is watching: its summary is what is counted.
const tests = spawn('npm', ['test'], {
  env: { ...process.env, TAP_REPORTER: 'tap' },
  stdio: ['ignore', 'pipe', 'inherit'],
})
const ended = new Promise((resolve) => {
  tests.once('error', (error) => {
    console.error(`npm could not be started: ${error.message}`)
    resolve(1)
  })
  tests.once('close', (code) => resolve(code ?? 1))
})

let summary
let wrong = 0
for await (const line of createInterface({ input: tests.stdout, crlfDelay: Infinity })) {
  process.stdout.write(`${line}\n`)
  // Only the whole run's stands at the start of a line.
  if (/^# \{ total: \d+.*\}$/u.test(line)) summary = line
  // A file that fails although each of its assertions passed.
  if (/^(not ok|Bail out!)/u.test(line)) wrong++
}
const code = await ended
const count = (name) => Number(new RegExp(`\\b${name}: (\\d+)`, 'u').exec(summary ?? '')?.[1] ?? 0)
const passed = count('pass')
const failed = Math.max(count('fail'), wrong, passed === 0 || code !== 0 ? 1 : 0)
process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
process.exitCode = code === 0 && failed > 0 ? 1 : code
