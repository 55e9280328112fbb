/* SplitMix64: small, exact on every machine, so that a seed is a program for ever. */
#ifndef DIFFERENTIAL_RNG_H
#define DIFFERENTIAL_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* 0 … bound - 1 */
static inline int below(struct rng *rng, int bound)
{
	return (int)(rng_next(rng) % (uint64_t)bound);
}

static inline bool percent(struct rng *rng, int chance)
{
	return below(rng, 100) < chance;
}

/* One of a table of numbers. */
#define PICK(rng, table) ((table)[below((rng), (int)(sizeof(table) / sizeof((table)[0])))])

#endif
