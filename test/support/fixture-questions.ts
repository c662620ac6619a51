/** The fixture's tools that ask the client something. */
import type { ElicitRequestFormParams } from '@modelcontextprotocol/server'
import type { Question } from './fixture-asking.ts'
import { answersTo, completion, field, form, inWords, roots, sealed } from './fixture-asking.ts'
import type { Arguments, FixtureTool } from './fixture-content.ts'
import { says, takes, text } from './fixture-content.ts'

/** A tool that asks one thing and repeats the answer. */
const asks = (
  description: string,
  key: string,
  question: (args: Arguments) => Question,
  label: string,
  inputSchema?: FixtureTool['inputSchema'],
): FixtureTool => ({
  description,
  ...(inputSchema === undefined ? {} : { inputSchema }),
  run: (args, ctx) => {
    const asked = answersTo({ [key]: question(args) }, ctx)
    return 'asks' in asked ? asked.asks : says(text(`${label}: ${inWords(asked.answers[key])}`))
  },
})

/** A tool that asks one thing and recognises its own state when it comes back. */
const remembers = (description: string, name: string): FixtureTool => ({
  description,
  run: async (_args, ctx) => {
    const state = ctx.mcpReq.requestState<{ readonly name: string }>()
    const asked = answersTo({ confirm: field('Please confirm', 'ok', 'boolean') }, ctx, await sealed.mint({ name }))
    if ('asks' in asked) return asked.asks
    return says(text(state?.name === name ? `state-ok, ${inWords(asked.answers['confirm'])}` : 'the state is missing'))
  },
})

const options = ['option1', 'option2', 'option3']
const titled = (noun: string) =>
  ['First', 'Second', 'Third'].map((nth, at) => ({ const: `value${at + 1}`, title: `${nth} ${noun}` }))

const defaults: ElicitRequestFormParams['requestedSchema'] = {
  type: 'object',
  properties: {
    name: { type: 'string', default: 'John Doe' },
    age: { type: 'integer', default: 30 },
    score: { type: 'number', default: 95.5 },
    status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
    verified: { type: 'boolean', default: true },
  },
}

const choices: ElicitRequestFormParams['requestedSchema'] = {
  type: 'object',
  properties: {
    untitledSingle: { type: 'string', enum: options },
    titledSingle: { type: 'string', oneOf: titled('Option') },
    legacyEnum: {
      type: 'string',
      enum: ['opt1', 'opt2', 'opt3'],
      enumNames: ['Option One', 'Option Two', 'Option Three'],
    },
    untitledMulti: { type: 'array', items: { type: 'string', enum: options } },
    titledMulti: { type: 'array', items: { anyOf: titled('Choice') } },
  },
}

const address: ElicitRequestFormParams['requestedSchema'] = {
  type: 'object',
  properties: {
    username: { type: 'string', description: "User's response" },
    email: { type: 'string', description: "User's email address" },
  },
  required: ['username', 'email'],
}

const france = completion('What is the capital of France?')

export const questions: Readonly<Record<string, FixtureTool>> = {
  test_sampling: asks(
    "Asks the client's model",
    'completion',
    ({ prompt }) => completion(String(prompt)),
    'LLM response',
    takes('prompt'),
  ),
  test_roots: asks('Asks the client for its roots', 'roots', () => roots, 'Roots'),
  test_elicitation: asks(
    'Asks the user for a name and an address',
    'response',
    ({ message }) => form(String(message), address),
    'User response',
    takes('message'),
  ),
  test_elicitation_sep1034_defaults: asks(
    'Asks the user with a default for every kind of value',
    'response',
    () => form('Please check the defaults', defaults),
    'Elicitation completed',
  ),
  test_elicitation_sep1330_enums: asks(
    'Asks the user with every kind of choice',
    'response',
    () => form('Please choose', choices),
    'Elicitation completed',
  ),
  test_missing_capability: asks('Cannot do without a model', 'capital_question', () => france, 'LLM response'),
  test_streaming_elicitation: {
    description: 'Reports its progress, then asks the user',
    run: async (_args, ctx) => {
      const progressToken = ctx.mcpReq._meta?.progressToken
      if (progressToken !== undefined) {
        await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: 1 } })
      }
      const asked = answersTo({ user_name: field('What is your name?', 'name') }, ctx)
      return 'asks' in asked ? asked.asks : says(text(`Hello: ${inWords(asked.answers['user_name'])}`))
    },
  },
  test_input_required_result_elicitation: asks(
    'Asks the user for a name',
    'user_name',
    () => field('What is your name?', 'name'),
    'Hello',
  ),
  test_input_required_result_sampling: asks(
    "Asks the client's model",
    'capital_question',
    () => france,
    'LLM response',
  ),
  test_input_required_result_list_roots: asks('Asks for the roots', 'client_roots', () => roots, 'Roots'),
  test_input_required_result_request_state: remembers('Sends a state along with its question', 'request state'),
  test_input_required_result_tampered_state: remembers('Refuses a state that was tampered with', 'tampered state'),
  test_input_required_result_multiple_inputs: {
    description: 'Asks the user, the model and for the roots at once',
    run: async (_args, ctx) => {
      const all = {
        user_name: field('What is your name?', 'name'),
        greeting: completion('Generate a greeting', 50),
        client_roots: roots,
      }
      const asked = answersTo(all, ctx, await sealed.mint({ name: 'multiple inputs' }))
      if ('asks' in asked) return asked.asks
      return says(
        text(
          Object.keys(all)
            .map((key) => inWords(asked.answers[key]))
            .join('; '),
        ),
      )
    },
  },
  test_input_required_result_multi_round: {
    description: 'Asks the user twice, one thing after the other',
    run: async (_args, ctx) => {
      let name = ctx.mcpReq.requestState<{ readonly name: string }>()?.name ?? ''
      if (name === '') {
        const first = answersTo(
          { step1: field('Step 1: What is your name?', 'name') },
          ctx,
          await sealed.mint({ name }),
        )
        if ('asks' in first) return first.asks
        name = inWords(first.answers['step1'])
      }
      const color = field('Step 2: What is your favorite color?', 'color')
      const second = answersTo({ step2: color }, ctx, await sealed.mint({ name }))
      return 'asks' in second ? second.asks : says(text(`${name}; ${inWords(second.answers['step2'])}`))
    },
  },
  test_input_required_result_capabilities: {
    description: 'Asks only what this client can be asked',
    run: (_args, ctx, { capabilities }) => {
      const all: Readonly<Record<string, Question>> = {
        elicitation: field('What is your name?', 'name'),
        sampling: france,
        roots,
      }
      const possible = Object.fromEntries(Object.entries(all).filter(([feature]) => feature in capabilities))
      if (Object.keys(possible).length === 0) return says(text('This client cannot be asked anything'))
      const asked = answersTo(possible, ctx)
      if ('asks' in asked) return asked.asks
      return says(
        text(
          Object.values(asked.answers)
            .map((view) => inWords(view))
            .join('; '),
        ),
      )
    },
  },
}
