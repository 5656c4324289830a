/**
 * What the running kernel has: three-valued probes for map types, program types, helpers, attach types, links, the
 * instruction set, BTF, and the big things that build on them. Part of `tsbpf/kernel`.
 */

export { ABILITIES, type Ability } from "./abilities.ts";
export type { Answer } from "./answer.ts";
export { ATTACH_TYPES } from "./attach-types.ts";
export { BTF_FEATURES, type BtfFeature } from "./btf-features.ts";
export { helperSince } from "./helpers.ts";
export { ISA_FEATURES, type IsaFeature } from "./isa.ts";
export { LINK_TYPES, type LinkTypeName } from "./link-types.ts";
export { MAP_TYPES, type ProbedMapType } from "./map-types.ts";
export { createProber, type Prober, requireFeature } from "./prober.ts";
export { PROG_TYPES } from "./prog-types.ts";
export { FEATURE_GROUPS, type FeatureGroup, type FeatureReport, probeFeatures } from "./report.ts";
