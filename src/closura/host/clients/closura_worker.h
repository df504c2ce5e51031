/* closura_worker.h: a C program as a solver of closura. C99 and POSIX; nothing to link. MIT licence.

   #define CLOSURA_WORKER_IMPLEMENTATION      (in one source file)
   #include "closura_worker.h"

   closura_worker w;
   int what;
   if (closura_worker_open(&w) != 0) return 1;             (not started by closura, or another version)
   while ((what = closura_worker_next(&w)) != CLOSURA_QUIT) {
     int failed = 0;
     if (what == CLOSURA_RESET) failed = begin(w.state, w.parameter);
     else failed = advance(w.state, *w.dt, w.action);      (write the new state to w.state)
     closura_worker_done(&w, failed);                      (failed != 0: this simulation is lost)
   }
   closura_worker_close(&w);

   With MPI rank 0 does this and sends the states on. Standard output stays the program's own. */
#ifndef CLOSURA_WORKER_H
#define CLOSURA_WORKER_H
#include <stddef.h>
#include <stdint.h>

enum { CLOSURA_QUIT = 0, CLOSURA_RESET = 'r', CLOSURA_STEP = 's' };

typedef struct {
  int components, dims, n[3];  /* of the state, of the grid; points along x, y, z, 1 where there is no such axis */
  int actions, parameters;     /* channels of the action, 0 where closura applies it; number of parameters */
  double *state;               /* [component][x][y][z], the last index runs fastest */
  double *action;              /* [action][x][y][z] */
  double *parameter;
  double *dt;                  /* the time step */
  void *memory;
  size_t size;
  int requests, replies;
} closura_worker;

int closura_worker_open(closura_worker *w); /* 0, or -1 */
int closura_worker_next(closura_worker *w);
int closura_worker_done(closura_worker *w, int failed); /* 0, or -1 where closura has gone */
void closura_worker_close(closura_worker *w);
#endif

#ifdef CLOSURA_WORKER_IMPLEMENTATION
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A descriptor that was inherited, or a path to open. */
static int closura_worker_pipe(const char *name, int mode)
{
  return name[0] == '/' ? open(name, mode) : atoi(name);
}

int closura_worker_open(closura_worker *w)
{
  const char *path = getenv("CLOSURA_MEMORY"), *in = getenv("CLOSURA_REQUESTS"), *out = getenv("CLOSURA_REPLIES");
  struct stat about;
  int file;
  memset(w, 0, sizeof *w);
  if (!path || !in || !out || (file = open(path, O_RDWR)) < 0) return -1;
  if (fstat(file, &about) == 0 && about.st_size >= 16 * 8) {
    w->size = (size_t)about.st_size;
    w->memory = mmap(NULL, w->size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  }
  close(file);
  if (!w->memory || w->memory == MAP_FAILED) return -1;
  const int64_t *header = w->memory;
  if (header[0] != 1129074515 || header[1] != 1) {
    munmap(w->memory, w->size);
    return -1;
  }
  char *base = w->memory;
  w->components = (int)header[2];
  w->dims = (int)header[3];
  for (int axis = 0; axis < 3; axis++) w->n[axis] = (int)header[4 + axis];
  w->actions = (int)header[7];
  w->parameters = (int)header[8];
  w->state = (double *)(base + header[9]);
  w->action = (double *)(base + header[10]);
  w->parameter = (double *)(base + header[11]);
  w->dt = (double *)(base + header[12]);
  w->requests = closura_worker_pipe(in, O_RDONLY);
  w->replies = closura_worker_pipe(out, O_WRONLY);
  return closura_worker_done(w, 0);
}

int closura_worker_next(closura_worker *w)
{
  char request = 0;
  ssize_t got;
  do got = read(w->requests, &request, 1);
  while (got < 0 && errno == EINTR);
  return got == 1 && (request == 'r' || request == 's') ? request : CLOSURA_QUIT;
}

int closura_worker_done(closura_worker *w, int failed)
{
  ssize_t sent;
  do sent = write(w->replies, failed ? "f" : "k", 1);
  while (sent < 0 && errno == EINTR);
  return sent == 1 ? 0 : -1;
}

void closura_worker_close(closura_worker *w)
{
  munmap(w->memory, w->size);
  close(w->requests);
  close(w->replies);
}
#endif
