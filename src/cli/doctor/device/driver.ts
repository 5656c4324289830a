import { driverInfo } from "../../../syscall/ethtool.ts";
import { netdevXdpFeatures } from "../../../syscall/netdev-genl.ts";
import { NetlinkSocket } from "../../../syscall/netlink.ts";
import {
  NETDEV_XDP_ACT_BASIC,
  NETDEV_XDP_ACT_HW_OFFLOAD,
  NETDEV_XDP_ACT_NDO_XMIT,
  NETDEV_XDP_ACT_NDO_XMIT_SG,
  NETDEV_XDP_ACT_REDIRECT,
  NETDEV_XDP_ACT_RX_SG,
  NETDEV_XDP_ACT_XSK_ZEROCOPY,
} from "../../../uapi/netlink.ts";
import { type Finding, notKnown, type Reading, read } from "../finding.ts";
import type { Target } from "../target.ts";

/** What an interface's driver is, and can do. */
export interface DriverFacts {
  readonly name: string;
  /** `undefined` where it does not say. */
  readonly driver: Reading<string | undefined>;
  /** `NETDEV_XDP_ACT_*`; `undefined` where the kernel does not tell (before 6.3). */
  readonly features: Reading<number | undefined>;
}

/** Asks the driver over ethtool, and the kernel over the "netdev" family. */
export function readDriver({ sys, link }: Target): DriverFacts {
  return {
    name: link.name,
    driver: read(() => driverInfo(sys, link.name)?.driver),
    features: read(() => {
      using generic = NetlinkSocket.generic(sys);
      return netdevXdpFeatures(generic, link.index)?.features;
    }),
  };
}

/** Says which XDP modes the driver has. */
export function checkDriver({ name, driver, features }: DriverFacts): readonly Finding[] {
  const check = "driver";
  const known = "value" in driver ? driver.value : undefined;
  const who = known === undefined ? `the driver of ${name}` : `driver ${known}`;
  if ("unknown" in features) return [notKnown(check, `what ${who} can do with XDP`, features.unknown)];
  if (features.value === undefined) {
    return [
      {
        level: "info",
        check,
        what: `${who}: this kernel does not tell its XDP features (Linux 6.3 and newer do)`,
        fix: "`up` tries native mode first, and takes generic mode where the driver has none.",
      },
    ];
  }
  const names = featureNames(features.value);
  if ((features.value & NETDEV_XDP_ACT_BASIC) === 0) {
    return [
      {
        level: "warn",
        check,
        what: `${who} has no native XDP`,
        fix: "`up` takes generic mode: the same programs, slower, behind the driver.",
      },
    ];
  }
  if ((features.value & NETDEV_XDP_ACT_REDIRECT) === 0) {
    return [
      {
        level: "warn",
        check,
        what: `${who} has native XDP, but no redirect, which the CPU map needs (${names})`,
        fix: "Use generic mode: up --xdp-mode generic",
      },
    ];
  }
  return [{ level: "ok", check, what: `${who} has native XDP with redirect (${names})` }];
}

/** The names of `NETDEV_XDP_ACT_*`, without the prefix. */
function featureNames(features: number): string {
  return FEATURE_NAMES.filter(([bit]) => (features & bit) !== 0)
    .map(([, name]) => name)
    .join(", ");
}

const FEATURE_NAMES: readonly (readonly [number, string])[] = [
  [NETDEV_XDP_ACT_BASIC, "BASIC"],
  [NETDEV_XDP_ACT_REDIRECT, "REDIRECT"],
  [NETDEV_XDP_ACT_NDO_XMIT, "NDO_XMIT"],
  [NETDEV_XDP_ACT_XSK_ZEROCOPY, "XSK_ZEROCOPY"],
  [NETDEV_XDP_ACT_HW_OFFLOAD, "HW_OFFLOAD"],
  [NETDEV_XDP_ACT_RX_SG, "RX_SG"],
  [NETDEV_XDP_ACT_NDO_XMIT_SG, "NDO_XMIT_SG"],
];
