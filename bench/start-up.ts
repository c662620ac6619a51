/** From starting the command until it is ready, with an Envoy that is there already. */
import { type Bed, entry, gatewayFor } from './bed.ts'

export const measureStartUp = async (bed: Bed, starts: number): Promise<readonly number[]> => {
  bed.say(`${starts} starts`)
  const times: number[] = []
  for (let i = 0; i < starts; i++) {
    await using gateway = await gatewayFor(bed, { a: entry(bed, 20, 'a'), b: entry(bed, 20, 'b') })
    times.push(gateway.readyMs)
  }
  return times
}
