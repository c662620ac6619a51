/** Preloaded into a server that binds every interface by itself: it gets 127.0.0.1 whatever it asks for, and says where. */
import { Server } from 'node:net'

const listen = Reflect.get(Server.prototype, 'listen')

Server.prototype.listen = function (first, ...rest) {
  const port = typeof first === 'object' && first !== null ? first.port : first
  // A Unix socket or an inherited handle is nobody else's to reach.
  if (port === undefined || !/^\d+$/.test(String(port))) return listen.call(this, first, ...rest)
  this.once('listening', () => console.log(`http://127.0.0.1:${this.address().port}/mcp`))
  const options = typeof first === 'object' ? first : {}
  const callbacks = rest.filter((one) => typeof one === 'function')
  return listen.call(this, { ...options, port: Number(port), host: '127.0.0.1' }, ...callbacks)
}
