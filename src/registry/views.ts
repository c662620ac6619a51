/** The `views:` section: parts of what the gateway offers, each at an address of its own. */
import { rulesAccess } from './access.ts'
import type { Inspection } from './inspection.ts'
import type { View } from './model.ts'
import { patternList } from './patterns.ts'
import { keyText } from './place.ts'
import type { ViewSheet } from './schema-access.ts'

export const views = (inspection: Inspection, sheets: Readonly<Record<string, ViewSheet>>): readonly View[] =>
  Object.entries(sheets).map(([name, sheet]) => {
    const path = ['views', name]
    if (!/^[a-z][a-z0-9-]*$/.test(name)) {
      const message = `"${keyText(name)}" is not a view name: lower-case letters, digits and hyphens, a letter first`
      inspection.errorAtKey(path, message)
    }
    const { tools, prompts, resources, access, description, instructions } = sheet
    return {
      name,
      place: inspection.keyPlace(path),
      ...(description === undefined ? {} : { description }),
      ...(instructions === undefined ? {} : { instructions }),
      ...(tools === undefined ? {} : { tools: patternList(inspection, [...path, 'tools'], tools, 'name') }),
      ...(prompts === undefined ? {} : { prompts: patternList(inspection, [...path, 'prompts'], prompts, 'name') }),
      ...(resources === undefined
        ? {}
        : { resources: patternList(inspection, [...path, 'resources'], resources, 'uri') }),
      ...(access === undefined ? {} : { access: rulesAccess(inspection, [...path, 'access'], access) }),
    }
  })
