import { absentHelpers } from "./absent-helpers.ts";
import type { Facts, HelperFacts, HelperProgTypes } from "./facts.ts";

/** `helpers.ts`: a constant per helper, the list of all, and which program types may call which. */
export function renderHelpers(facts: Facts, probed: HelperProgTypes): string {
  const absent = new Set(probed.absent);
  const gplOnly = (helper: HelperFacts): boolean =>
    probed.gplOnly.includes(helper.id) ||
    (absent.has(helper.id) && (absentHelpers[helper.name]?.gplOnly ?? false));
  const mayCall = (type: string, helper: HelperFacts): boolean => {
    if (absent.has(helper.id)) return absentHelpers[helper.name]?.progTypes.includes(type) ?? true;
    return probed.callable[type]?.includes(helper.id) ?? true;
  };
  const types = progTypes(facts);
  const callable = types.map((type): [string, readonly HelperFacts[]] => {
    if (!(type in probed.callable)) return [type, facts.helpers];
    return [type, facts.helpers.filter((helper) => mayCall(type, helper))];
  });
  const base = facts.helpers.filter((helper) => callable.every(([, helpers]) => helpers.includes(helper)));
  const isBase = new Set(base);
  const extras = callable.map(([type, helpers]): [string, readonly HelperFacts[]] => [
    type,
    helpers.filter((helper) => !isBase.has(helper)),
  ]);
  return [
    "// The kernel's helper functions: names and prototypes from linux/bpf.h; who may call them, and which want a GPL",
    `// compatible licence, as the verifier of Linux ${probed.kernel} answered scripts/uapi/probe-helpers.ts.`,
    "",
    'import type { Helper } from "./helper.ts";',
    "",
    ...facts.helpers.map((helper) => renderHelper(helper, gplOnly(helper))),
    "",
    "/** Every helper, indexed by id; there is no helper 0. */",
    "export const helpers: readonly (Helper | undefined)[] = [",
    "undefined,",
    ...facts.helpers.map((helper) => `${helper.name},`),
    "];",
    "",
    "/** The name of a helper. */",
    `export type HelperName = ${union(facts.helpers)};`,
    "",
    "/** Helpers that every program type may call. */",
    `export type BaseHelper = ${union(base)};`,
    "",
    "/**",
    " * The helpers that programs of a type may call, whatever their attach type and flags: some attach types take away from",
    " * it. Keys are BPF_PROG_TYPE_* in lower case. Types the kernel gave no answer for (they need a BTF id to attach to, or",
    " * are not configured) may call every helper, so that nothing correct is refused: " +
      probed.unknown.join(", ") +
      ".",
    " */",
    "export interface HelpersByProgType {",
    ...extras.map(([type, helpers]) => `  ${type}: ${extraUnion(type, helpers, probed)};`),
    "}",
    "",
    "/** A program type as {@link HelpersByProgType} spells it: `BPF_PROG_TYPE_*` in lower case, without the prefix. */",
    "export type HelperProgType = keyof HelpersByProgType;",
    "",
    "/** Ids of the helpers that every program type may call: {@link BaseHelper}. */",
    `export const baseHelperIds: readonly number[] = [${ids(base)}];`,
    "",
    "/**",
    " * Ids of the helpers that programs of a type may call beside {@link baseHelperIds}: the runtime twin of",
    ' * {@link HelpersByProgType}. "all" where the type may call every helper.',
    " */",
    'export const helperProgTypes: Readonly<Record<HelperProgType, readonly number[] | "all">> = {',
    ...extras.map(
      ([type, helpers]) => `  ${type}: ${type in probed.callable ? `[${ids(helpers)}]` : '"all"'},`,
    ),
    "};",
    "",
  ].join("\n");
}

/** Program types in the kernel's order, lower case without the prefix, but for the one that is no type. */
export function progTypes(facts: Facts): string[] {
  const { bpf = [] } = facts.constants;
  const groups = bpf.flatMap((header) => header.groups);
  const members = Object.keys(groups.find((group) => group.enum === "bpf_prog_type")?.values ?? {});
  return members
    .filter((name) => name.startsWith("BPF_PROG_TYPE_") && name !== "BPF_PROG_TYPE_UNSPEC")
    .map((name) => name.replace("BPF_PROG_TYPE_", "").toLowerCase());
}

function renderHelper({ name, id, signature }: HelperFacts, gplOnly: boolean): string {
  return [
    `/** \`${signature}\` */`,
    `export const ${name}: Helper<"${name}"> = {`,
    '  kind: "helper",',
    `  name: "${name}",`,
    `  id: ${id},`,
    `  signature: ${JSON.stringify(signature)},`,
    `  gplOnly: ${gplOnly},`,
    "};",
  ].join("\n");
}

function extraUnion(type: string, helpers: readonly HelperFacts[], probed: HelperProgTypes): string {
  if (!(type in probed.callable)) return "HelperName";
  return helpers.length === 0 ? "BaseHelper" : `BaseHelper | ${union(helpers)}`;
}

const union = (helpers: readonly HelperFacts[]): string =>
  helpers.length === 0 ? "never" : helpers.map((helper) => `"${helper.name}"`).join(" | ");

const ids = (helpers: readonly HelperFacts[]): string => helpers.map((helper) => helper.id).join(", ");
