#include "plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "wire.h"

const char *plan_word(void) {
    static char word[64];
    if (scanf("%63s", word) != 1) fail("the plan ends too early");
    return word;
}

long plan_number(void) {
    long number;
    if (scanf("%ld", &number) != 1) fail("the plan lacks a number");
    return number;
}

Text plan_text(void) {
    Text text;
    text.length = (size_t)plan_number();
    getchar(); /* the end of the line */
    text.data = malloc(text.length + 1);
    if (text.data == NULL || fread(text.data, 1, text.length, stdin) != text.length) fail("the plan lacks a text");
    text.data[text.length] = '\0';
    return text;
}

void plan_say(const char *word) {
    puts(word);
    fflush(stdout);
}

void plan_wait(void) {
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL && line[0] == '\n') continue;
}
