/** Values in the browser: payloads stay bytes until the page's edge, where these read and write them. */

export { check, decode } from "./decode";
export { encode, packList, packMap } from "./encode";
export { fromJson, itemsFromJson, toJson } from "./json";
export { DTYPES, type Dtype, Float, float, type NdArray, type TypedArray, type Value, ValueFault } from "./types";
