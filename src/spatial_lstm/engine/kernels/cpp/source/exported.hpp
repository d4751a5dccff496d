// What a library shows. All else is its own: a process may hold several, compiled for other CPUs, in which what has the same name is not the same.
#pragma once

#define EXPORTED extern "C" __attribute__((visibility("default")))
