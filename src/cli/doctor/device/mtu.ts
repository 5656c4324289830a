import { NETDEV_XDP_ACT_BASIC, NETDEV_XDP_ACT_RX_SG } from "../../../uapi/netlink.ts";
import { STANDARD_MTU } from "../../sample/xdp-mode.ts";
import type { Finding, Reading } from "../finding.ts";
import { command, type Target, visiblePeer } from "../target.ts";

/** The sizes of an interface's packets: whether one buffer holds them. */
export interface MtuFacts extends Pick<Target, "enter"> {
  readonly name: string;
  readonly mtu: number;
  /** MTU of a veth's peer, up to which it sends packets; `undefined` for others, and where it is out of sight. */
  readonly peerMtu: number | undefined;
  readonly isVeth: boolean;
  /** `NETDEV_XDP_ACT_*`. */
  readonly features: Reading<number | undefined>;
}

/** Reads them. @param features - what the driver can do, as it was read. */
export function readMtu(target: Target, features: MtuFacts["features"]): MtuFacts {
  const { link, enter } = target;
  return {
    name: link.name,
    enter,
    mtu: link.mtu,
    peerMtu: visiblePeer(target)?.link.mtu,
    isVeth: link.kind === "veth",
    features,
  };
}

/** Judges them. */
export function checkMtu(facts: MtuFacts): readonly Finding[] {
  const { name, mtu, isVeth, peerMtu, features } = facts;
  const check = "mtu";
  const largest = Math.max(mtu, peerMtu ?? 0);
  const frags = largest > STANDARD_MTU;
  if (!frags) return [{ level: "ok", check, what: `MTU ${largest}: every packet fits one buffer` }];
  if (isVeth)
    return [{ level: "ok", check, what: `MTU ${largest}: \`up\` declares fragments, which veth takes` }];
  if ("value" in features && features.value !== undefined && (features.value & NETDEV_XDP_ACT_BASIC) === 0) {
    return [
      { level: "ok", check, what: `MTU ${mtu}: generic XDP, all there is here, takes packets of any size` },
    ];
  }
  const declared = `MTU ${mtu}: packets may need several buffers, so \`up\` declares fragments`;
  if ("value" in features && features.value !== undefined && (features.value & NETDEV_XDP_ACT_RX_SG) !== 0) {
    return [{ level: "ok", check, what: `${declared}, and the driver takes them (RX_SG)` }];
  }
  const known = "value" in features && features.value !== undefined;
  return [
    {
      level: known ? "warn" : "info",
      check,
      what: `${declared}; ${known ? "its driver takes none (no RX_SG) and may refuse native XDP" : "whether its driver takes them is not known"}`,
      fix: `Should \`up\` fail: ${command(facts, `ip link set ${name} mtu ${STANDARD_MTU}`)}, or up --xdp-mode generic`,
    },
  ];
}
