/** The library: a page of one's own as a peer of a mesh. The built page serves it as `/mesh.js`. */

export { LinkError, ProtocolError, SignalingError } from "./errors";
export { type JoinOptions, Peer } from "./peer/peer";
export * from "./peer/types";
export { decode, encode, float, fromJson, toJson, ValueFault } from "./values";
