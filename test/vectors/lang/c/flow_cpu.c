/* XDP: sends all packets of one IPv4 flow, in both directions, to one CPU. The hash is a function of its own. */
#include "bpf.h"

#define CPUS 2

extern struct bpf_map cpus; /* cpumap: u32 -> struct bpf_cpumap_val */

static __noinline __u32 flow_hash(__u32 saddr, __u32 daddr, __u32 ports, __u32 proto)
{
	__u32 hash = (saddr ^ daddr) * 0x9e3779b1;

	hash ^= ((ports ^ ports >> 16) & 0xffff) * 0x85ebca6b;
	hash += proto;
	hash ^= hash >> 15;
	hash *= 0xc2b2ae35;
	return hash ^ hash >> 13;
}

int flow_cpu(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	__u32 ports = 0;

	if ((void *)(ip + 1) > data_end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP) {
		__u32 *l4 = (void *)ip + ip->ihl * 4;

		if (!(ip->frag_off & bpf_htons(0x3fff)) && (void *)(l4 + 1) <= data_end)
			ports = *l4;
	}
	return bpf_redirect_map(&cpus, flow_hash(ip->saddr, ip->daddr, ports, ip->protocol) % CPUS, XDP_PASS);
}
