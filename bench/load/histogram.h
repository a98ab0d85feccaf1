/* How long things took: 64 steps to each doubling, so that a percentile is right to 1.6 %, in constant memory. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

enum { STEPS = 64, DOUBLINGS = 40 };

typedef struct {
    uint64_t counts[DOUBLINGS * STEPS];
    uint64_t total;
    uint64_t largest;
} Histogram;

void histogram_note(Histogram *histogram, int64_t ns);

/* The smallest duration that so many of all (0 to 1) don't exceed, in ms; 0 when nothing was noted. */
double histogram_ms(const Histogram *histogram, double share);

/* As a JSON object. */
void histogram_print(const Histogram *histogram, FILE *out);

#endif
