/** The Lua filter of the direct path: an allow-list for answers, and what the broker must know when it is asked instead. */
import {
  DESTINATION,
  REPLAY_BODY,
  REPLAY_SERVER,
  REPLAY_STATUS,
  REPLAY_TYPE,
  REQUEST_ID,
  RESPONSE_ALLOWED,
} from '../mcp/headers.ts'
import type { HttpServer } from '../registry/model.ts'
import { credentialHeader } from './secret.ts'

/** Answers that never reach the client: the router asks the broker, which knows whether the session is gone. */
export const RETRIED_STATUSES = [301, 302, 303, 307, 308, 400, 401, 403, 404, 407] as const

/** The largest answer kept for the broker. Base64 makes it a third longer; it travels as a header. */
const KEPT_BYTES = 32 * 1024

/** Answers kept for a second attempt per generation; two generations. Each is fetched within milliseconds. */
const KEPT_ANSWERS = 256

// Values are names, header names and numbers without quotes or backslashes: a JSON string is a Lua string.
const set = (keys: Iterable<string | number>): string =>
  `{ ${[...keys].map((key) => `[${JSON.stringify(String(key))}] = true`).join(', ')} }`

/**
 * Runs on every attempt: first at the server, then at the broker (composite cluster), which listens on a Unix socket and
 * so has a path for an address. Headers are one map across attempts: what the first one added must be taken off again.
 * One VM per worker, so tables need no lock.
 */
export const replayScript = (server: HttpServer): string => {
  const header = credentialHeader(server)
  return `local ALLOWED = ${set(RESPONSE_ALLOWED)}
local RETRIED = ${set(RETRIED_STATUSES)}
local young, old, count = {}, {}, 0

local function keep(id, answer)
  if count == ${KEPT_ANSWERS} then
    old, young, count = young, {}, 0
  end
  young[id] = answer
  count = count + 1
end

local function take(id)
  local answer = young[id] or old[id]
  young[id] = nil
  old[id] = nil
  return answer
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local id = headers:get(${JSON.stringify(REQUEST_ID)}) or ""
  local destination = headers:get(${JSON.stringify(DESTINATION)}) or ""
  headers:remove(${JSON.stringify(DESTINATION)})
  if destination:sub(1, 1) ~= "/" then
    handle:streamInfo():dynamicMetadata():set("mcp.replay", "id", id)
    return
  end
  handle:streamInfo():dynamicMetadata():set("mcp.replay", "id", "")
  local answer = take(id) or { status = "0" }
  headers:replace(${JSON.stringify(REPLAY_SERVER)}, ${JSON.stringify(server.name)})
  headers:replace(${JSON.stringify(REPLAY_STATUS)}, answer.status)
  if answer.type then headers:replace(${JSON.stringify(REPLAY_TYPE)}, answer.type) end
  if answer.body then headers:replace(${JSON.stringify(REPLAY_BODY)}, handle:base64Escape(answer.body)) end
${header === undefined ? '' : `  headers:remove(${JSON.stringify(header)})\n`}end

function envoy_on_response(handle)
  local metadata = handle:streamInfo():dynamicMetadata():get("mcp.replay")
  local id = metadata and metadata.id
  if id == "" then return end
  local headers = handle:headers()
  local status = headers:get(":status")
  if id and RETRIED[status] then
    local answer = { status = status, type = headers:get("content-type") }
    local announced = tonumber(headers:get("content-length") or "")
    if announced == nil or announced <= ${KEPT_BYTES} then
      local body = handle:body(true)
      local length = body:length()
      if length == 0 then
        answer.body = ""
      elseif length <= ${KEPT_BYTES} then
        answer.body = body:getBytes(0, length)
      end
    end
    keep(id, answer)
    headers = handle:headers()
  end
  local unwanted = {}
  for name in pairs(headers) do
    if not ALLOWED[name] then unwanted[#unwanted + 1] = name end
  end
  for index = 1, #unwanted do headers:remove(unwanted[index]) end
end
`
}
