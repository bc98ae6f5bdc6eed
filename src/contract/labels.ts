/** The limits of labels. They are those of tags of AWS resources (ECR API reference, "Tag"). */
import * as z from 'zod';

const KEY_MAX = 128;
const VALUE_MAX = 256;

const key = z.string().min(1).max(KEY_MAX);
const value = z.string().max(VALUE_MAX);

/** The labels to set, by key. `null` removes a label. */
export const labelChange = z.record(key, z.nullable(value));
