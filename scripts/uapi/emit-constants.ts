import type { ConstantGroup, Facts, HeaderFacts, Value } from "./facts.ts";
import type { ConstantUnit } from "./units.ts";

/** A file of constants: one `export const` per name, and per named enum an object and a type of the enum's name. */
export function renderConstants(unit: ConstantUnit, facts: Facts): string {
  const headers = facts.constants[unit.file] ?? [];
  return [`// ${unit.about}\n`, ...headers.map(renderHeader)].join("\n");
}

function renderHeader(header: HeaderFacts): string {
  const rule = `// ---- ${header.header} ----\n`;
  return [rule, ...header.groups.map((group) => renderGroup(group, header.header))].join("\n");
}

function renderGroup(group: ConstantGroup, header: string): string {
  const lines: string[] = [];
  if (group.enum !== undefined) lines.push(`// enum ${group.enum ?? "(anonymous)"}`);
  for (const [name, value] of Object.entries(group.values))
    lines.push(`export const ${name} = ${literal(value)};`);
  for (const [name, text] of Object.entries(group.strings ?? {})) {
    lines.push(`export const ${name} = ${JSON.stringify(text)};`);
  }
  if (typeof group.enum === "string") lines.push(...renderEnum(group.enum, group, header));
  return `${lines.join("\n")}\n`;
}

function renderEnum(name: string, group: ConstantGroup, header: string): string[] {
  // Names such as __MAX_BPF_MAP_TYPE count the enumerators; they are no value of the enum.
  const members = Object.entries(group.values).filter(([member]) => !member.startsWith("__"));
  return [
    `/** \`enum ${name}\` of ${header}. */`,
    `export const ${name} = {`,
    ...members.map(([member, value]) => `  ${member}: ${literal(value)},`),
    "} as const;",
    `/** A value of \`enum ${name}\`. */`,
    `export type ${name} = (typeof ${name})[keyof typeof ${name}];`,
  ];
}

/** The number as TypeScript text; a bigint where a double cannot hold it. */
function literal(value: Value): string {
  return Number.isSafeInteger(Number(value)) ? String(value) : `${value}n`;
}
