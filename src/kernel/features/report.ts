import { release } from "node:os";
import type { AttachTypeName, ProgTypeName } from "../../asm/program.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import type { HelperName } from "../../uapi/helpers.ts";
import { ABILITIES, type Ability } from "./abilities.ts";
import type { Answer } from "./answer.ts";
import { ATTACH_TYPES } from "./attach-types.ts";
import { BTF_FEATURES, type BtfFeature } from "./btf-features.ts";
import { HELPERS } from "./helpers.ts";
import { ISA_FEATURES, type IsaFeature } from "./isa.ts";
import { LINK_TYPES, type LinkTypeName } from "./link-types.ts";
import { MAP_TYPES, type ProbedMapType } from "./map-types.ts";
import { createProber, type Prober } from "./prober.ts";
import { PROG_TYPES } from "./prog-types.ts";

/** What the running kernel has, by group. A group that was not asked for is not there. */
export interface FeatureReport {
  /** `uname -r`. */
  readonly kernel: string;
  readonly abilities?: Readonly<Record<Ability, Answer>>;
  readonly isa?: Readonly<Record<IsaFeature, Answer>>;
  readonly mapTypes?: Readonly<Record<ProbedMapType, Answer>>;
  readonly progTypes?: Readonly<Record<ProgTypeName, Answer>>;
  readonly attachTypes?: Readonly<Record<AttachTypeName, Answer>>;
  readonly linkTypes?: Readonly<Record<LinkTypeName, Answer>>;
  readonly btf?: Readonly<Record<BtfFeature, Answer>>;
  /** By program type; some seven thousand answers. */
  readonly helpers?: Readonly<Record<ProgTypeName, Readonly<Record<HelperName, Answer>>>>;
}

/** A group of {@link FeatureReport}. */
export type FeatureGroup = Exclude<keyof FeatureReport, "kernel">;

/** The groups, in the order of reports. */
export const FEATURE_GROUPS: readonly FeatureGroup[] = [
  "abilities",
  "isa",
  "mapTypes",
  "progTypes",
  "attachTypes",
  "linkTypes",
  "btf",
  "helpers",
];

/**
 * Asks the running kernel about everything, which takes a fraction of a second; about helpers as well if they are
 * selected, which takes some seconds.
 *
 * @param selection - the groups to ask about; default all but helpers.
 * @example
 * ```ts
 * const { mapTypes } = probeFeatures(linuxSyscalls(), ["mapTypes"]);
 * console.log(mapTypes?.arena); // { answer: "yes", since: "6.9" }
 * ```
 */
export function probeFeatures(
  sys?: Syscalls,
  selection: readonly FeatureGroup[] = FEATURE_GROUPS.filter((group) => group !== "helpers"),
): FeatureReport {
  const prober = createProber(sys);
  const groups = FEATURE_GROUPS.filter((group) => selection.includes(group));
  return { kernel: release(), ...Object.fromEntries(groups.map((group) => [group, ASK[group](prober)])) };
}

const ASK: { readonly [Group in FeatureGroup]: (prober: Prober) => NonNullable<FeatureReport[Group]> } = {
  abilities: (prober) => each(ABILITIES, (name) => prober.have(name)),
  isa: (prober) => each(ISA_FEATURES, (name) => prober.haveIsa(name)),
  mapTypes: (prober) => each(MAP_TYPES, (name) => prober.haveMapType(name)),
  progTypes: (prober) => each(PROG_TYPES, (name) => prober.haveProgType(name)),
  attachTypes: (prober) => each(ATTACH_TYPES, (name) => prober.haveAttachType(name)),
  linkTypes: (prober) => each(LINK_TYPES, (name) => prober.haveLinkType(name)),
  btf: (prober) => each(BTF_FEATURES, (name) => prober.haveBtf(name)),
  helpers: (prober) =>
    each(PROG_TYPES, (type) => {
      const names = [...HELPERS.keys()] as HelperName[];
      const answers = names.map((name) => [name, prober.haveHelper(type, name)] as const);
      return Object.fromEntries(answers) as Readonly<Record<HelperName, Answer>>;
    }),
};

function each<Name extends string, Result>(
  table: Readonly<Record<Name, unknown>>,
  ask: (name: Name) => Result,
): Readonly<Record<Name, Result>> {
  const names = Object.keys(table) as Name[];
  return Object.fromEntries(names.map((name) => [name, ask(name)])) as Readonly<Record<Name, Result>>;
}
