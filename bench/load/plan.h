/* The plan of a load, read from the standard input: words and numbers on lines, and texts with their length before them
 * ("<length>\n<bytes>\n"), for requests have line ends of their own. */
#ifndef PLAN_H
#define PLAN_H

#include <stddef.h>

typedef struct {
    char *data; /* ended by NUL too */
    size_t length;
} Text;

/* Read a word; it is good until the next is read. */
const char *plan_word(void);

long plan_number(void);

Text plan_text(void);

/* Tell who started this that a line is reached, and wait until it says to go on. */
void plan_say(const char *word);
void plan_wait(void);

#endif
