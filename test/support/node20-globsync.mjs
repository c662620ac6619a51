/** A `node --import` hook that lets the conformance suite, written for Node 22, load on Node 20, whose `fs` has no `globSync`. */
import { register } from 'node:module'
import { isMainThread } from 'node:worker_threads'

// Node runs hooks on a thread of their own and loads this file there a second time.
if (isMainThread) register(import.meta.url)

const FS =
  'export * from "node:fs"; export const globSync = () => { throw new Error("globSync: not on this version of Node") }'

/** Gives the suite, and nothing else, an `fs` that has the name. The suite asks for it only to look for skills. */
export const resolve = (specifier, context, next) =>
  /^(node:)?fs$/.test(specifier) && context.parentURL?.includes('/@modelcontextprotocol/conformance/')
    ? { url: `data:text/javascript,${encodeURIComponent(FS)}`, shortCircuit: true }
    : next(specifier, context)
