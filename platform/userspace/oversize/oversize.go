// Package oversize is what happens to packets that are larger than the path between
// the peers: whoever sent them is told what fits (Refuse), or they are cut, before GRE
// (Fragment4) or outside ESP (Cut6), and those that the peer has cut are joined again
// (Reassembler). Quote is what routers say of ours. None of it is met by packets that
// fit, and nothing here sends or receives anything.
package oversize

// IPv6MinMTU is what every IPv6 link carries (RFC 8200 section 5).
const IPv6MinMTU = 1280

// minMTU is what every IPv4 link carries (RFC 791 section 3.2).
const minMTU = 68
